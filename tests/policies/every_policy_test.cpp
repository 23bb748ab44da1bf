// What holds for every policy? The properties that each has to have, whatever else it does.
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "replica_router/policies.hpp"
#include "replicas.hpp"

namespace rr = replica_router;
using rr::AnyPolicy;
using rr::Duration;
using namespace rr::testing;

namespace {

std::vector<std::string> const texts{"round-robin",
                                     "random",
                                     "least-in-flight",
                                     "least-lag",
                                     "least-lag(tolerance=0s)",
                                     "lowest-latency",
                                     "lowest-latency(window=0s)",
                                     "prefer-zone(round-robin)",
                                     "prefer-zone(least-lag)",
                                     "sticky(least-lag, window=1s)",
                                     "within-staleness(round-robin, bound=1s)",
                                     "sticky(within-staleness(prefer-zone(lowest-latency), bound=1ms), window=1s)"};

/// Any bits at all, and often the extreme ones.
template <class Number>
Number wild(std::mt19937_64& random) {
  switch (random() % 4) {
    case 0: return std::numeric_limits<Number>::min();
    case 1: return std::numeric_limits<Number>::max();
    case 2: return static_cast<Number>(random() % 3);
    default: return static_cast<Number>(random());
  }
}

}  // namespace

TEST_CASE("a policy chooses one of the eligible replicas, whatever they look like") {
  std::mt19937_64 random{1};
  constexpr std::string_view zones[] = {"", "a", "b"};
  for (auto const& text : texts) {
    CAPTURE(text);
    auto policy = AnyPolicy::parse(text);
    for (int i = 0; i < 5'000; ++i) {
      auto views = replicas(1 + random() % (i % 20 == 0 ? 40 : 8));
      for (auto& view : views) {
        view.id = random() % 100;
        view.weight = wild<std::uint32_t>(random);
        view.in_flight = wild<std::uint32_t>(random);
        view.lag = Duration{wild<Duration::rep>(random)};
        view.staleness = Duration{wild<Duration::rep>(random)};
        view.latency = Duration{wild<Duration::rep>(random)};
        view.zone = zones[random() % std::size(zones)];
      }
      auto read = request(random);
      read.entropy = wild<std::uint64_t>(random);
      read.now = rr::TimePoint{Duration{wild<Duration::rep>(random)}};
      read.last_commit.at = rr::TimePoint{Duration{wild<Duration::rep>(random)}};
      read.zone = zones[random() % std::size(zones)];
      policy.contract(read);
      REQUIRE(policy.choose(read, views).value() < views.size());
    }
    CHECK_FALSE(policy.choose({}, {}));
  }
}

TEST_CASE("every replica is chosen sometimes when all are alike, and gets the share that failed ones leave") {
  std::mt19937_64 random{2};
  for (auto const& text : texts) {
    CAPTURE(text);
    auto policy = AnyPolicy::parse(text);
    auto const all = replicas(5);
    auto const rest = without(all, 3);
    std::vector<int> served(all.size());
    for (int i = 0; i < 20'000; ++i) {
      auto id = all[policy.choose(request(random), all).value()].id;
      if (id == 3) {
        id = rest[policy.choose(request(random), rest).value()].id;
      }
      ++served[id];
    }
    for (auto const& view : rest) {
      CAPTURE(view.id, served[view.id]);
      CHECK(std::abs(served[view.id] - 5'000) < 350);
    }
  }
}

TEST_CASE("every policy may be asked by many threads at once") {
  for (auto const& text : texts) {
    CAPTURE(text);
    auto policy = AnyPolicy::parse(text);
    std::atomic<std::size_t> wrong = 0;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random{t};
        auto const all = replicas(30);
        for (int i = 0; i < 500; ++i) {
          auto const eligible = some_of(all, random);
          auto const read = request(random);
          policy.contract(read);
          auto const chosen = policy.choose(read, eligible);
          wrong += chosen && *chosen < eligible.size() ? 0 : 1;
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    CHECK(wrong == 0);
  }
}
