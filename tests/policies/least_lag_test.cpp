#include "replica_router/policies/least_lag.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <random>
#include <set>

#include "replica_router/errors.hpp"
#include "replicas.hpp"

namespace rr = replica_router;
using rr::Duration;
using rr::LeastLag;
using namespace rr::testing;
using namespace std::chrono_literals;

namespace {

std::set<std::size_t> chosen_by(LeastLag policy, std::vector<rr::ReplicaView> const& views) {
  std::mt19937_64 random{1};
  std::set<std::size_t> seen;
  for (int i = 0; i < 500; ++i) {
    seen.insert(policy.choose(request(random), views).value());
  }
  return seen;
}

}  // namespace

TEST_CASE("exactly the replicas within the tolerance of the least lag are chosen") {
  auto views = replicas(4);
  views[0].lag = 700ms;
  views[1].lag = 200ms;
  views[2].lag = 701ms;
  views[3].lag = 10s;
  CHECK(chosen_by(LeastLag{}, views) == std::set<std::size_t>{0, 1});
  CHECK(chosen_by(LeastLag{501ms}, views) == std::set<std::size_t>{0, 1, 2});
  CHECK(chosen_by(LeastLag{0ms}, views) == std::set<std::size_t>{1});
  CHECK(chosen_by(LeastLag{Duration::max()}, views) == std::set<std::size_t>{0, 1, 2, 3});
}

TEST_CASE("an unknown lag never beats a known one, and all unknown are equal") {
  auto views = replicas(3);
  views[0].lag = Duration::max();
  views[1].lag = 20h;
  views[2].lag = Duration::max();
  CHECK(chosen_by(LeastLag{}, views) == std::set<std::size_t>{1});
  CHECK(chosen_by(LeastLag{Duration::max()}, views) == std::set<std::size_t>{1});
  views[1].lag = Duration::max();
  CHECK(chosen_by(LeastLag{}, views) == std::set<std::size_t>{0, 1, 2});
  views[1].lag = Duration::min();
  CHECK(chosen_by(LeastLag{}, views) == std::set<std::size_t>{1});
}

TEST_CASE("sessions do not herd on the freshest replica") {
  for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
    std::mt19937_64 random{seed};
    LeastLag policy;
    auto views = replicas(3);
    views[1].lag = 10ms;
    views[2].lag = 499ms;
    for (int session = 0; session < 64; ++session) {
      ++views.at(policy.choose(request(random), views).value()).in_flight;
    }
    auto const busiest = std::ranges::max(views, {}, &rr::ReplicaView::in_flight);
    REQUIRE(busiest.in_flight <= 32);
  }
}

TEST_CASE("a negative tolerance is refused") { CHECK_THROWS_AS(LeastLag{-1ns}, rr::ConfigError); }
