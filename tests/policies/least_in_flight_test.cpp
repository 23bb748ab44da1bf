#include "replica_router/policies/least_in_flight.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "replicas.hpp"

namespace rr = replica_router;
using namespace rr::testing;

TEST_CASE("leases that are held spread over all replicas, in proportion to weight") {
  std::mt19937_64 random{1};
  rr::LeastInFlight policy;
  for (auto const& weights : {std::vector<std::uint32_t>{1, 1, 1, 1, 1}, {1, 2, 3}, {1, 9}}) {
    auto views = replicas_weighing(weights);
    constexpr int leases = 1'000;
    for (int i = 0; i < leases; ++i) {
      ++views.at(policy.choose(request(random), views).value()).in_flight;
    }
    for (auto const& view : views) {
      CAPTURE(view.id, view.in_flight, view.weight);
      CHECK(std::abs(view.in_flight - leases * view.weight / weight_sum(views)) < 0.02 * leases);
    }
  }
}

TEST_CASE("a slow replica is given less") {
  std::mt19937_64 random{2};
  rr::LeastInFlight policy;
  auto views = replicas(3);
  std::vector<int> served(views.size());
  std::vector<std::vector<int>> ends(views.size());
  // One read arrives at each step; it takes 6 steps, on the slow replica 60.
  for (int step = 0; step < 10'000; ++step) {
    for (std::size_t i = 0; i < views.size(); ++i) {
      std::erase(ends[i], step);
      views[i].in_flight = static_cast<std::uint32_t>(ends[i].size());
    }
    auto const chosen = policy.choose(request(random), views).value();
    ends.at(chosen).push_back(step + (chosen == 0 ? 60 : 6));
    ++served[chosen];
  }
  CAPTURE(served);
  CHECK(served[0] < 1'500);
  CHECK(served[0] > 100);
  CHECK(std::abs(served[1] - served[2]) < 500);
}

TEST_CASE("idle replicas share by weight") {
  std::mt19937_64 random{3};
  rr::LeastInFlight policy;
  auto const views = replicas_weighing({1, 2, 5});
  auto const counted = counts(policy, views, 40'000, random);
  for (std::size_t i = 0; i < views.size(); ++i) {
    CHECK(std::abs(static_cast<double>(counted[i]) - 5'000.0 * views[i].weight) < 500);
  }
}
