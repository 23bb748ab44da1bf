#include "replica_router/policies/policy_text.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>
#include <string_view>

#include "replica_router/errors.hpp"

using Catch::Matchers::ContainsSubstring;
using replica_router::ConfigError;
using replica_router::PolicyText;
using replica_router::PolicyTextReader;

namespace {

/// The text that was read, in one canonical form.
std::string written(PolicyText const& text) {
  std::string out(text.name);
  out += '(';
  for (auto const& policy : text.policies) {
    out += written(policy) + ';';
  }
  for (auto const& parameter : text.parameters) {
    out += std::string(parameter.name) + ':' + std::string(parameter.value) + ';';
  }
  return out + ')';
}

std::string read(std::string_view text) { return written(PolicyTextReader{text}.read()); }

std::string error_of(std::string_view text) {
  try {
    return "no error, but " + read(text);
  } catch (ConfigError const& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a policy text is a name with policies and parameters inside") {
  CHECK(read("a") == "a()");
  CHECK(read("a()") == "a()");
  CHECK(read("a(b)") == "a(b();)");
  CHECK(read("a(b, c=1)") == "a(b();c:1;)");
  CHECK(read("a(c=1,b)") == "a(b();c:1;)");
  CHECK(read("a-b(c(d(x=1), y=2), e(f), z=3)") == "a-b(c(d(x:1;);y:2;);e(f(););z:3;)");
  CHECK(read(" \t a\n( b ( ) ,\r c = 1 ) ") == "a(b();c:1;)");
}

TEST_CASE("a text that breaks the grammar is quoted, with the place where it breaks") {
  CHECK(error_of("") == "policy text \"\", at the end (character 1): expected the name of a policy");
  CHECK(error_of("  ") == "policy text \"  \", at the end (character 3): expected the name of a policy");
  CHECK(error_of("(a)") == "policy text \"(a)\", at \"(\" (character 1): expected the name of a policy");
  CHECK(error_of("a b") == "policy text \"a b\", at \"b\" (character 3): expected nothing after the policy");
  CHECK(error_of("a(b))") == "policy text \"a(b))\", at \")\" (character 5): expected nothing after the policy");
  CHECK(error_of("a=1") == "policy text \"a=1\", at \"=\" (character 2): expected nothing after the policy");
  CHECK(error_of("a(b") == "policy text \"a(b\", at the end (character 4): expected \",\" or \")\"");
  CHECK(error_of("a(b c)") == "policy text \"a(b c)\", at \"c\" (character 5): expected \",\" or \")\"");
  CHECK(error_of("a(,b)") == "policy text \"a(,b)\", at \",\" (character 3): expected a policy or a parameter");
  CHECK(error_of("a(b,)") == "policy text \"a(b,)\", at \")\" (character 5): expected a policy or a parameter");
  CHECK(error_of("a(") == "policy text \"a(\", at the end (character 3): expected a policy or a parameter");
  CHECK(error_of("a(b=)") == "policy text \"a(b=)\", at \")\" (character 5): expected a value");
  CHECK(error_of("a(b==1)") == "policy text \"a(b==1)\", at \"=\" (character 5): expected a value");
}

TEST_CASE("deep nesting is refused, a little is not") {
  auto const nested = [](std::size_t depth) {
    std::string text;
    for (std::size_t i = 1; i < depth; ++i) {
      text += "a(";
    }
    return text + "a" + std::string(depth - 1, ')');
  };
  CHECK_NOTHROW(PolicyTextReader{nested(PolicyTextReader<>::max_depth)}.read());
  CHECK_THAT(error_of(nested(PolicyTextReader<>::max_depth + 1)), ContainsSubstring("may be nested 16 deep"));
  CHECK_THAT(error_of(nested(300)), ContainsSubstring("may be nested 16 deep"));
}

TEST_CASE("a huge or unprintable text gives a short and harmless message") {
  CHECK_NOTHROW(PolicyTextReader{std::string(PolicyTextReader<>::max_length, 'x')}.read());
  auto const huge = error_of(std::string(5'000'000, '('));
  CHECK_THAT(huge, ContainsSubstring("at most 1000 characters"));
  CHECK(huge.size() < 500);
  using namespace std::string_view_literals;
  auto const hostile = error_of("a(\x1b[31m\0\n\xff\x7f(b c))"sv);
  for (char const c : hostile) {
    CHECK(c >= ' ');
    CHECK(c <= '~');
  }
}
