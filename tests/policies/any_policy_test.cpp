#include "replica_router/policies/any_policy.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/scoped_environment.hpp"
#include "replica_router/errors.hpp"
#include "replicas.hpp"

namespace rr = replica_router;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using rr::AnyPolicy;
using rr::ConfigError;
using rr::Duration;
using rr::ReadRequest;
using rr::ReplicaView;
using namespace rr::testing;
using namespace std::chrono_literals;

namespace {

std::string error_of(std::string_view text) {
  try {
    return "no error, but " + AnyPolicy::parse(text).text();
  } catch (ConfigError const& error) {
    return error.what();
  }
}

Duration random_duration(std::mt19937_64& random) {
  constexpr Duration units[] = {1ns, 1us, 1ms, 1s, 1min, 1h};
  return static_cast<Duration::rep>(1 + random() % 1'000) * units[random() % std::size(units)];
}

/// A policy of a random kind, made from types rather than text.
AnyPolicy random_policy(std::mt19937_64& random, int depth) {
  switch (random() % (depth > 0 ? 11 : 7)) {
    case 0: return AnyPolicy{rr::RoundRobin{}};
    case 1: return AnyPolicy{rr::Random{}};
    case 2: return AnyPolicy{rr::LeastInFlight{}};
    case 3: return AnyPolicy{rr::LeastLag{}};
    case 4: return AnyPolicy{rr::LeastLag{random_duration(random)}};
    case 5: return AnyPolicy{rr::LowestLatency{}};
    case 6: return AnyPolicy{rr::LowestLatency{random_duration(random)}};
    case 7: return AnyPolicy{rr::PreferZone{random_policy(random, depth - 1)}};
    case 8: return AnyPolicy{rr::StickyAfterWrite{random_policy(random, depth - 1)}};
    case 9: return AnyPolicy{rr::StickyAfterWrite{random_policy(random, depth - 1), random_duration(random)}};
    default: return AnyPolicy{rr::WithinStaleness{random_duration(random), random_policy(random, depth - 1)}};
  }
}

ReadRequest random_request(std::mt19937_64& random) {
  auto read = request(random);
  read.now = rr::TimePoint{random_duration(random)};
  if (random() % 2 == 0) {
    read.last_commit = {rr::Lsn{random()}, 1, read.now - random_duration(random)};
  }
  read.zone = random() % 2 == 0 ? "east" : "";
  return read;
}

std::vector<ReplicaView> random_replicas(std::mt19937_64& random) {
  auto views = replicas(1 + random() % 20);
  for (auto& view : views) {
    view.weight = static_cast<std::uint32_t>(random() % 10);
    view.in_flight = static_cast<std::uint32_t>(random() % 10);
    view.lag = random() % 4 == 0 ? Duration::max() : random_duration(random);
    view.latency = random() % 4 == 0 ? 0ns : random_duration(random);
    view.zone = random() % 2 == 0 ? "east" : "west";
  }
  return views;
}

struct Mine {
  std::optional<std::size_t> choose(ReadRequest const&, std::span<ReplicaView const> eligible) {
    return eligible.size() > 1 ? std::optional{eligible.size() - 1} : std::nullopt;
  }
  static std::string_view name() { return "mine"; }
};

}  // namespace

TEST_CASE("a policy's text reads back to a policy that chooses and demands the same") {
  std::mt19937_64 random{1};
  for (int i = 0; i < 2'000; ++i) {
    auto original = random_policy(random, 6);
    auto copy = AnyPolicy::parse(original.text());
    CAPTURE(original.text());
    REQUIRE(copy.text() == original.text());
    REQUIRE(copy.demands_freshness() == original.demands_freshness());
    for (int read = 0; read < 10; ++read) {
      auto const asked = random_request(random);
      auto const eligible = random_replicas(random);
      REQUIRE(copy.contract(asked) == original.contract(asked));
      REQUIRE(copy.choose(asked, eligible) == original.choose(asked, eligible));
      REQUIRE(copy.choose(asked, eligible).value() < eligible.size());
      original.choose(asked, eligible);
    }
  }
}

TEST_CASE("the forms that are documented are read and printed") {
  for (std::string const text :
       {"round-robin", "random", "least-in-flight", "least-lag", "least-lag(tolerance=200ms)", "lowest-latency",
        "lowest-latency(window=15ms)", "prefer-zone(random)", "sticky(least-lag)", "sticky(round-robin, window=2s)",
        "within-staleness(least-lag, bound=1s)",
        "sticky(within-staleness(prefer-zone(random), bound=1min), window=500us)"}) {
    CHECK(AnyPolicy::parse(text).text() == text);
  }
  CHECK(AnyPolicy::parse(" sticky( window = 2000ms , least-lag() ) ").text() == "sticky(least-lag, window=2s)");
  CHECK(AnyPolicy::parse("least-lag(tolerance=500ms)").text() == "least-lag");
  CHECK(AnyPolicy::parse("lowest-latency(window=5ms)").text() == "lowest-latency");
  CHECK(AnyPolicy::parse("sticky(random, window=0s)").text() == "sticky(random)");
}

TEST_CASE("every name is listed, with the nearest, when one is wrong") {
  auto const error = error_of("sticky(least-lags)");
  CHECK_THAT(error, StartsWith("policy text \"sticky(least-lags)\", at \"least-lags\" (character 8): "));
  CHECK_THAT(error, ContainsSubstring("did you mean least-lag?"));
  for (auto const* const name : {"round-robin", "random", "least-in-flight", "least-lag", "lowest-latency",
                                 "prefer-zone", "sticky", "within-staleness"}) {
    CHECK_THAT(error, ContainsSubstring(name));
  }
  CHECK_THAT(error_of("RoundRobin"), ContainsSubstring("did you mean round-robin?"));
  CHECK_THAT(error_of("least_in_flight"), ContainsSubstring("did you mean least-in-flight?"));
  CHECK_THAT(error_of("stiky(random)"), ContainsSubstring("did you mean sticky?"));
  CHECK_THAT(error_of("quantum"), !ContainsSubstring("did you mean"));
}

TEST_CASE("what stands inside a policy is checked") {
  CHECK_THAT(error_of("sticky"), ContainsSubstring("needs a policy inside, as in sticky(<policy>[, window=2s])"));
  CHECK_THAT(error_of("sticky(window=1s)"), ContainsSubstring("needs a policy inside"));
  CHECK_THAT(error_of("round-robin(random)"), ContainsSubstring("at \"random\" (character 13)"));
  CHECK_THAT(error_of("sticky(random, random)"), ContainsSubstring("at \"random\" (character 16)"));
  CHECK_THAT(error_of("least-lag(200ms)"), ContainsSubstring("it is written least-lag[(tolerance=500ms)]"));
  CHECK_THAT(error_of("within-staleness(random)"), ContainsSubstring("needs bound"));
  CHECK_THAT(error_of("within-staleness(random, 1s)"), ContainsSubstring("within-staleness(<policy>, bound=1s)"));
  CHECK_THAT(error_of("sticky(random, windw=1s)"), ContainsSubstring("at \"windw\" (character 16): no such parameter"));
  CHECK_THAT(error_of("random(window=1s)"), ContainsSubstring("no such parameter"));
  CHECK_THAT(error_of("sticky(random, window=1s, window=1s)"),
             ContainsSubstring("(character 27): this parameter was given"));
}

TEST_CASE("a duration that is none, or out of range, is marked") {
  CHECK_THAT(error_of("sticky(random, window=2)"), ContainsSubstring("at \"2\" (character 23): a duration is a whole"));
  CHECK_THAT(error_of("least-lag(tolerance=99999999999999999999h)"), ContainsSubstring("a duration is"));
  CHECK_THAT(error_of("least-lag(tolerance=-1s)"),
             ContainsSubstring("at \"-1s\" (character 21): least-lag: tolerance=-1s"));
  CHECK_THAT(error_of("lowest-latency(window=-1s)"), ContainsSubstring("zero or longer"));
  CHECK_THAT(error_of("sticky(random, window=-1s)"), ContainsSubstring("zero or longer"));
  CHECK_THAT(error_of("within-staleness(random, bound=0s)"), ContainsSubstring("longer than zero"));
}

TEST_CASE("random text is a policy or a ConfigError, never anything else") {
  std::mt19937_64 random{2};
  std::vector<std::string> const pieces{"round-robin", "random", "least-lag", "sticky",    "within-staleness",
                                        "prefer-zone", "(",      ")",         ",",         "=",
                                        " ",           "window", "bound",     "tolerance", "2s",
                                        "250ms",       "-1s",    "x",         "\xff",      std::string(1, '\0')};
  int accepted = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text;
    for (auto length = random() % 10; length > 0; --length) {
      text += pieces[random() % pieces.size()];
    }
    try {
      auto const policy = AnyPolicy::parse(text);
      CAPTURE(text, policy.text());
      REQUIRE(AnyPolicy::parse(policy.text()).text() == policy.text());
      ++accepted;
    } catch (ConfigError const& error) {
      REQUIRE_THAT(error.what(), StartsWith("policy text \""));
    }
  }
  CHECK(accepted > 100);
}

TEST_CASE("a policy of a user's own works inside, and is called by its name") {
  AnyPolicy policy{rr::StickyAfterWrite{AnyPolicy{Mine{}}}};
  CHECK(policy.text() == "sticky(mine)");
  CHECK(policy.choose({}, replicas(3)) == 2U);
  CHECK_FALSE(policy.choose({}, replicas(1)));
  CHECK(policy.demands_freshness());
  CHECK_FALSE(AnyPolicy{Mine{}}.demands_freshness());
  Mine const mine;
  CHECK(AnyPolicy{mine}.text() == "mine");
}

TEST_CASE("freshness is demanded where a policy inside declares a contract") {
  CHECK(AnyPolicy::parse("sticky(random)").demands_freshness());
  CHECK(AnyPolicy::parse("within-staleness(random, bound=1s)").demands_freshness());
  CHECK(AnyPolicy::parse("prefer-zone(prefer-zone(sticky(random)))").demands_freshness());
  CHECK_FALSE(AnyPolicy::parse("prefer-zone(prefer-zone(random))").demands_freshness());
  CHECK_FALSE(AnyPolicy::parse("least-lag").demands_freshness());
}

TEST_CASE("the environment may name the policy") {
  {
    ScopedEnvironment const nothing;
    CHECK(AnyPolicy::from_environment().text() == "sticky(least-lag)");
  }
  {
    ScopedEnvironment const named{{{"REPLICA_ROUTER_POLICY", "round-robin"}, {"REPLICA_ROUTER_OTHER", "random"}}};
    CHECK(AnyPolicy::from_environment().text() == "round-robin");
    CHECK(AnyPolicy::from_environment("REPLICA_ROUTER_OTHER").text() == "random");
  }
  {
    ScopedEnvironment const empty{{{"REPLICA_ROUTER_POLICY", ""}}};
    CHECK(AnyPolicy::from_environment().text() == "sticky(least-lag)");
  }
  {
    ScopedEnvironment const wrong{{{"REPLICA_ROUTER_POLICY", "least-lgg"}}};
    CHECK_THROWS_WITH(AnyPolicy::from_environment(), StartsWith("REPLICA_ROUTER_POLICY: policy text \"least-lgg\""));
  }
}

TEST_CASE("a policy that was moved from is a clear error") {
  AnyPolicy policy;
  auto other = std::move(policy);
  CHECK(other.text() == "sticky(least-lag)");
  // NOLINTBEGIN(bugprone-use-after-move,clang-analyzer-cplusplus.Move): that is what is tested.
  CHECK_THROWS_AS(policy.choose({}, replicas(1)), rr::UsageError);
  CHECK_THROWS_AS(policy.contract({}), rr::UsageError);
  CHECK_THROWS_AS(policy.demands_freshness(), rr::UsageError);
  CHECK_THROWS_AS(policy.text(), rr::UsageError);
  // NOLINTEND(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  policy = AnyPolicy{rr::Random{}};
  CHECK(policy.text() == "random");
}
