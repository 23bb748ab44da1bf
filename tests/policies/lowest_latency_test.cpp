#include "replica_router/policies/lowest_latency.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <random>
#include <set>
#include <vector>

#include "replica_router/errors.hpp"
#include "replicas.hpp"

namespace rr = replica_router;
using rr::LowestLatency;
using namespace rr::testing;
using namespace std::chrono_literals;

namespace {

std::set<std::size_t> chosen_by(LowestLatency policy, std::vector<rr::ReplicaView> const& views) {
  std::mt19937_64 random{1};
  std::set<std::size_t> seen;
  for (int i = 0; i < 500; ++i) {
    seen.insert(policy.choose(request(random), views).value());
  }
  return seen;
}

}  // namespace

TEST_CASE("exactly the replicas within the window above the best latency are chosen") {
  auto views = replicas(4);
  views[0].latency = 6ms;
  views[1].latency = 1ms;
  views[2].latency = 6001us;
  views[3].latency = 80ms;
  CHECK(chosen_by(LowestLatency{}, views) == std::set<std::size_t>{0, 1});
  CHECK(chosen_by(LowestLatency{15ms}, views) == std::set<std::size_t>{0, 1, 2});
  CHECK(chosen_by(LowestLatency{0ms}, views) == std::set<std::size_t>{1});
  CHECK(chosen_by(LowestLatency{rr::Duration::max()}, views) == std::set<std::size_t>{0, 1, 2, 3});
}

TEST_CASE("a replica of unknown latency is tried") {
  auto views = replicas(3);
  views[0].latency = 1ms;
  views[1].latency = 90ms;
  CHECK(chosen_by(LowestLatency{}, views) == std::set<std::size_t>{0, 2});
  views[0].latency = views[1].latency = 0ms;
  CHECK(chosen_by(LowestLatency{}, views) == std::set<std::size_t>{0, 1, 2});
}

TEST_CASE("near replicas are balanced by what is in flight") {
  std::mt19937_64 random{2};
  LowestLatency policy;
  auto views = replicas(4);
  views[0].latency = 1ms;
  views[1].latency = 2ms;
  views[2].latency = 4ms;
  views[3].latency = 40ms;
  for (int i = 0; i < 300; ++i) {
    ++views.at(policy.choose(request(random), views).value()).in_flight;
  }
  CHECK(views[3].in_flight == 0);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(views[i].in_flight > 90);
    CHECK(views[i].in_flight < 110);
  }
}

TEST_CASE("a negative latency window is refused") { CHECK_THROWS_AS(LowestLatency{-1ns}, rr::ConfigError); }
