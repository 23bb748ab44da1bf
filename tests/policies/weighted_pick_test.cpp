#include "replica_router/policies/weighted_pick.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "replicas.hpp"

namespace rr = replica_router;
using namespace rr::testing;

TEST_CASE("a pick falls on each candidate as often as its weight says, and on nobody else") {
  std::mt19937_64 random{1};
  for (int fleet = 0; fleet < 200; ++fleet) {
    auto views = replicas(1 + random() % 10);
    std::vector<bool> is_in(views.size());
    for (std::size_t i = 0; i < views.size(); ++i) {
      views[i].weight = static_cast<std::uint32_t>(1 + random() % 20);
      is_in[i] = random() % 3 != 0;
    }
    is_in[random() % views.size()] = true;
    auto const is_candidate = [&](std::size_t i) { return is_in[i]; };
    auto const total = rr::total_weight(views, is_candidate);
    std::vector<std::uint64_t> counted(views.size());
    constexpr std::uint64_t steps = 2'000;
    for (std::uint64_t step = 0; step < steps; ++step) {
      auto const entropy = static_cast<std::uint32_t>(step * ((std::uint64_t{1} << 32) / steps));
      ++counted.at(rr::pick_by_weight(entropy, views, total, is_candidate));
    }
    for (std::size_t i = 0; i < views.size(); ++i) {
      auto const share = is_in[i] ? static_cast<double>(steps * views[i].weight) / static_cast<double>(total) : 0.0;
      REQUIRE(std::abs(static_cast<double>(counted[i]) - share) <= (is_in[i] ? 1.1 : 0.0));
    }
  }
}

TEST_CASE("the last bits of entropy and extreme weights stay in range") {
  auto views = replicas_weighing({0, UINT32_MAX, 1});
  auto const everyone = [](std::size_t) { return true; };
  auto const total = rr::total_weight(views, everyone);
  CHECK(total == 1 + rr::max_weight + 1);
  CHECK(rr::pick_by_weight(0, views, total, everyone) == 0);
  CHECK(rr::pick_by_weight(UINT32_MAX, views, total, everyone) == 2);
}
