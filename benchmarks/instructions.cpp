// How many instructions does the router add to a read and to a write, and where? Counted by valgrind's callgrind.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <pqxx/pqxx>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report.hpp"
#include "support/child_process.hpp"
#include "test_table.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;
using testing::Account;

constexpr char const* update = "UPDATE item SET touched = touched + 1 WHERE id = $1::int";

/// What runs under callgrind: so many reads or writes, in one thread.
void run_workload(std::string const& workload, int count, std::string const& primary, std::string const& replica) {
  Keys keys;
  bool const is_read = workload.ends_with("-read");
  if (workload.starts_with("libpqxx")) {
    pqxx::connection held{is_read ? replica : primary};
    held.prepare("statement", is_read ? statement : update);
    for (int i = 0; i < count; ++i) {
      if (is_read) {
        pqxx::nontransaction tx{held};
        tx.exec(pqxx::prepped{"statement"}, pqxx::params{keys.next()});
      } else {
        pqxx::work tx{held};
        tx.exec(pqxx::prepped{"statement"}, pqxx::params{keys.next()});
        tx.commit();
      }
    }
    return;
  }
  ReplicaRouter db{{.primary = primary, .replicas = {replica}}};
  db.prepare("statement", is_read ? statement : update);
  wait_until_all_serve(db);
  for (int i = 0; i < count; ++i) {
    if (is_read) {
      db.read()->exec(pqxx::prepped{"statement"}, pqxx::params{keys.next()});
    } else {
      db.write([&](auto& tx) { tx.exec(pqxx::prepped{"statement"}, pqxx::params{keys.next()}); });
    }
  }
}

/// Instructions by function, each as "file:function".
using Profile = std::map<std::string, double>;

/// The lines of callgrind_annotate that tell of functions: `1,234 (5.0%)  file:function [object]`.
Profile parsed(std::string const& annotated) {
  Profile out;
  std::istringstream lines{annotated};
  for (std::string line; std::getline(lines, line);) {
    auto const begin = line.find_first_not_of(' ');
    auto const end = line.find("  ", begin == std::string::npos ? 0 : begin);
    if (begin == std::string::npos || end == std::string::npos || line.find(':', end) == std::string::npos) {
      continue;
    }
    double count = 0;
    bool is_count = false;
    for (char const c : line.substr(begin, line.find_first_of(" (", begin) - begin)) {
      is_count = c == ',' || (c >= '0' && c <= '9');
      if (!is_count) {
        break;
      }
      count = c == ',' ? count : count * 10 + (c - '0');
    }
    if (is_count) {
      auto name = line.substr(line.find_first_not_of(' ', end));
      auto const object = name.find(" [");
      // Of a library without names callgrind gives addresses: they are told as the library.
      if (name.starts_with("???:0x") && object != std::string::npos) {
        auto const file = name.substr(name.rfind('/') + 1);
        name = "???:" + file.substr(0, file.find(']'));
      }
      name = name.substr(0, name.find(" ["));
      out[name] += count;
    }
  }
  return out;
}

/// The profile of one operation: the difference between many and few, which leaves out everything done once.
class Callgrind {
 public:
  Callgrind(std::filesystem::path directory, testing::Cluster& cluster)
      : directory_{std::move(directory)}, cluster_{cluster} {}

  Profile of_one(std::string const& workload) const {
    constexpr int few = 200;
    constexpr int many = 1200;
    auto out = run(workload, many);
    for (auto const& [function, count] : run(workload, few)) {
      out[function] -= count;
    }
    for (auto& [function, count] : out) {
      count /= many - few;
    }
    return out;
  }

 private:
  Profile run(std::string const& workload, int count) const {
    Account const self{::geteuid(), ::getegid()};
    auto const file = directory_ / fmt::format("{}-{}.callgrind", workload, count);
    auto const program = std::filesystem::read_symlink("/proc/self/exe").string();
    // Threads apart: what the probing thread does goes by time, and under valgrind time is long.
    testing::run({{"/usr/bin/valgrind", "--tool=callgrind", "--separate-threads=yes",
                   "--callgrind-out-file=" + file.string(), program, "--workload", workload, std::to_string(count),
                   cluster_.primary().conninfo(), cluster_.replica(0).conninfo()},
                  directory_},
                 self, 120s);
    auto out = parsed(testing::run(
        {{"/usr/bin/callgrind_annotate", "--threshold=100", "--auto=no", "--show-percs=no", file.string() + "-01"},
         directory_},
        self, 60s));
    if (out.empty()) {
      throw std::runtime_error{"callgrind_annotate tells of no function in " + file.string() + "-01"};
    }
    return out;
  }

  std::filesystem::path directory_;
  testing::Cluster& cluster_;
};

double total_of(Profile const& profile) {
  double out = 0;
  for (auto const& [function, count] : profile) {
    out += count;
  }
  return out;
}

/// The function's name alone: what is inlined into it counts as its own, whatever file that is from.
std::string function_of(std::string const& name) {
  int depth = 0;
  std::string out;
  auto const function = name.substr(name.find(':') + 1);
  for (std::size_t i = 0; i < function.size() && out.size() < 80; ++i) {
    char const c = function[i];
    depth += c == '<' || c == '(' ? 1 : 0;
    if (depth == 0) {
      out += c;
    }
    depth -= (c == '>' && function[i - 1] != '-') || c == ')' ? 1 : 0;
  }
  out.resize(std::min(out.size(), out.find('@')));
  return out.substr(out.rfind(' ', out.find("::")) + 1);
}

void compare(Report& report, Callgrind const& callgrind, std::string const& what) {
  auto const alone = callgrind.of_one("libpqxx-" + what);
  auto added = callgrind.of_one("router-" + what);
  auto const both = total_of(added);
  for (auto const& [function, count] : alone) {
    added[function] -= count;
  }
  Profile by_function;
  for (auto const& [name, count] : added) {
    by_function[function_of(name)] += count;
  }
  std::vector<std::pair<std::string, double>> costliest{by_function.begin(), by_function.end()};
  std::sort(costliest.begin(), costliest.end(), [](auto const& a, auto const& b) { return a.second > b.second; });

  auto& table = report.table("Instructions of one " + what + " in the client, system calls not counted inside",
                             {"", "instructions", "of libpqxx alone"});
  auto const base = total_of(alone);
  table.add({words("libpqxx alone"), number(base), number(1, 2)});
  table.add({words("through the router"), number(both), number(both / base, 2)});
  for (std::size_t i = 0; i < std::min<std::size_t>(5, costliest.size()); ++i) {
    table.add({words("  more in: " + costliest[i].first), number(costliest[i].second),
               number(costliest[i].second / base, 3)});
  }
  auto all = report.data("_" + what, "instructions a " + what + " more than libpqxx alone, file:function");
  for (auto const& [name, count] : added) {
    if (count >= 1 || count <= -1) {
      all << number(count, 1).shown << " " << name << "\n";
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 6 && std::string_view{argv[1]} == "--workload") {
    try {
      run_workload(argv[2], std::stoi(argv[3]), argv[4], argv[5]);
      return 0;
    } catch (std::exception const& error) {
      fmt::print(stderr, "{}\n", error.what());
      return 1;
    }
  }
  return run_benchmark("instructions", argc, argv, [&](Report& report) {
    testing::Cluster cluster{{.replicas = 1}};
    make_test_table(cluster);
    Callgrind const callgrind{std::filesystem::absolute(argv[1]), cluster};
    compare(report, callgrind, "read");
    compare(report, callgrind, "write");
    report.note(
        "One statement by prepared name; the router with its default policy, so the write brings its token home. "
        "\"More in\" are the functions whose own instructions, with those of what is inlined into them, grew most "
        "(run_workload is the loop that calls the router). All of them, by file: instructions_read.dat and "
        "instructions_write.dat.");
  });
}
