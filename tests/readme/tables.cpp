// Do the README's tables still say what the code says? Options with their defaults and variables; policies' text forms.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "replica_router/options.hpp"
#include "replica_router/policies/any_policy.hpp"

using namespace replica_router;

namespace {

using Row = std::vector<std::string>;

/// The cells of a table's line, without the blanks around them.
Row cells_of(std::string_view line) {
  Row cells;
  line.remove_prefix(1);
  for (auto end = line.find('|'); end != std::string_view::npos; end = line.find('|')) {
    auto cell = line.substr(0, end);
    cell.remove_prefix(std::min(cell.find_first_not_of(' '), cell.size()));
    cells.emplace_back(cell.substr(0, cell.find_last_not_of(' ') + 1));
    line.remove_prefix(end + 1);
  }
  return cells;
}

/// The rows of the README's table that begins with this head, without head and rule.
std::vector<Row> table(std::string_view head) {
  std::ifstream readme{README_FILE};
  REQUIRE(readme.is_open());
  std::string line;
  while (std::getline(readme, line) && line != head) {
  }
  INFO("the table that begins with " << head);
  REQUIRE(readme);
  REQUIRE(std::getline(readme, line));
  std::vector<Row> rows;
  while (std::getline(readme, line) && line.starts_with('|')) {
    rows.push_back(cells_of(line));
  }
  return rows;
}

std::string as_code(std::string_view text) { return '`' + std::string{text} + '`'; }

/// Every text in backquotes.
std::vector<std::string> codes_of(std::string_view text) {
  std::vector<std::string> codes;
  for (auto begin = text.find('`'); begin != std::string_view::npos; begin = text.find('`')) {
    text.remove_prefix(begin + 1);
    auto const end = text.find('`');
    REQUIRE(end != std::string_view::npos);
    codes.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return codes;
}

}  // namespace

TEST_CASE("the options table names every field in order, with its default and its variable") {
  auto const rows = table("| option | default | environment | meaning |");
  std::vector<Row> expected{{"`primary`", "–", "`REPLICA_ROUTER_PRIMARY`"},
                            {"`replicas`", "–", "`REPLICA_ROUTER_REPLICAS`"}};
  detail::for_each_knob([&](std::string_view name, auto field, auto) {
    auto const value = detail::text_of(Options{}.*field);
    expected.push_back({as_code(name), value.empty() ? "empty" : as_code(value), as_code(detail::variable_of(name))});
  });
  REQUIRE(rows.size() == expected.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    REQUIRE(rows[i].size() == 4);
    CHECK(Row(rows[i].begin(), rows[i].begin() + 3) == expected[i]);
    CHECK_FALSE(rows[i][3].empty());
  }
}

TEST_CASE("the policy table has every text form, and each of them is one") {
  std::string forms;
  for (auto const& row : table("| policy | text form | for |")) {
    REQUIRE(row.size() == 3);
    for (auto text : codes_of(row[1])) {
      forms += text + '\n';
      if (auto const inner = text.find("<policy>"); inner != std::string::npos) {
        text.replace(inner, std::string_view{"<policy>"}.size(), "random");
      }
      CHECK_NOTHROW(AnyPolicy::parse(text));
    }
  }
  for (auto const& form : detail::policy_forms<AnyPolicy>) {
    INFO(form.name);
    CHECK(('\n' + forms).find('\n' + std::string{form.name}) != std::string::npos);
  }
}
