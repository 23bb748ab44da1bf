#include "replica_router/policies/two_choices.hpp"

#include <algorithm>
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>

#include "replicas.hpp"

namespace rr = replica_router;
using namespace rr::testing;

TEST_CASE("less busy is fewer leases for the weight") {
  auto views = replicas_weighing({1, 3});
  views[0].in_flight = 2;
  views[1].in_flight = 5;
  CHECK(rr::is_less_busy(views[1], views[0]));
  CHECK_FALSE(rr::is_less_busy(views[0], views[1]));
  views[1].in_flight = 6;
  CHECK_FALSE(rr::is_less_busy(views[1], views[0]));
  CHECK_FALSE(rr::is_less_busy(views[0], views[1]));
  views[0].in_flight = UINT32_MAX;
  views[1].weight = UINT32_MAX;
  CHECK(rr::is_less_busy(views[1], views[0]));
}

TEST_CASE("of two replicas the less busy one is always taken, of many never the busiest") {
  std::mt19937_64 random{1};
  auto const everyone = [](rr::ReplicaView const&) { return true; };
  for (std::size_t size = 2; size <= 8; ++size) {
    auto views = replicas(size);
    for (std::size_t i = 0; i < size; ++i) {
      views[i].in_flight = static_cast<std::uint32_t>(10 * i);
    }
    std::ranges::shuffle(views, random);
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 1'000; ++i) {
      auto const chosen = rr::less_busy_of_two(random(), views, everyone);
      seen.insert(views.at(chosen.value()).in_flight);
    }
    // Two different ones are drawn, so each but the busiest gets its turn sometimes.
    CHECK(seen.size() == size - 1);
    CHECK(*seen.rbegin() == 10 * (size - 2));
  }
}

TEST_CASE("only candidates are drawn") {
  std::mt19937_64 random{2};
  auto const views = replicas(8);
  for (unsigned mask = 0; mask < 256; ++mask) {
    auto const is_candidate = [&](rr::ReplicaView const& view) { return (mask >> view.id & 1U) != 0; };
    std::set<std::size_t> seen;
    for (int i = 0; i < 300; ++i) {
      if (auto const chosen = rr::less_busy_of_two(random(), views, is_candidate)) {
        REQUIRE(is_candidate(views[*chosen]));
        seen.insert(*chosen);
      } else {
        REQUIRE(mask == 0);
      }
    }
    REQUIRE(seen.size() == static_cast<std::size_t>(std::popcount(mask)));
  }
}
