#include "replica_router/policies/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstddef>
#include <random>

#include "replicas.hpp"

namespace rr = replica_router;
using namespace rr::testing;

TEST_CASE("random gives every replica the share of its weight") {
  std::mt19937_64 random{1};
  rr::Random policy;
  constexpr std::size_t reads = 100'000;
  for (auto const& weights : {std::vector<std::uint32_t>{1, 1, 1}, {1, 2, 3, 4}, {1, 100}}) {
    auto const views = replicas_weighing(weights);
    auto const counted = counts(policy, views, reads, random);
    for (std::size_t i = 0; i < views.size(); ++i) {
      auto const probability = views[i].weight / weight_sum(views);
      auto const deviation = std::sqrt(reads * probability * (1 - probability));
      CAPTURE(i, counted[i], probability);
      CHECK(std::abs(static_cast<double>(counted[i]) - reads * probability) < 5 * deviation);
    }
  }
}

TEST_CASE("random spreads a dead replica's share evenly over all the others") {
  std::mt19937_64 random{2};
  rr::Random policy;
  auto const all = replicas(5);
  auto const rest = without(all, 2);
  std::vector<double> served(all.size());
  constexpr int reads = 100'000;
  for (int i = 0; i < reads; ++i) {
    auto id = all[policy.choose(request(random), all).value()].id;
    if (id == 2) {
      id = rest[policy.choose(request(random), rest).value()].id;
    }
    ++served[id];
  }
  for (auto const& view : rest) {
    CHECK(std::abs(served[view.id] - reads / 4.0) < 5 * std::sqrt(reads * 0.25 * 0.75));
  }
}
