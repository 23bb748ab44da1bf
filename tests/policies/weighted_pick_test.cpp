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
    auto const is_candidate = [&](rr::ReplicaView const& view) { return is_in[view.id]; };
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
  auto const everyone = [](rr::ReplicaView const&) { return true; };
  auto const total = rr::total_weight(views, everyone);
  CHECK(total == 1 + rr::max_weight + 1);
  CHECK(rr::pick_by_weight(0, views, total, everyone) == 0);
  CHECK(rr::pick_by_weight(UINT32_MAX, views, total, everyone) == 2);
}

TEST_CASE("among replicas of the same weight a pick falls where the walk would end, without one") {
  std::mt19937_64 random{2};
  auto const everyone = [](rr::ReplicaView const&) { return true; };
  for (std::uint32_t const weight : {1U, 3U, rr::max_weight}) {
    for (std::size_t size = 1; size <= 9; ++size) {
      auto const views = replicas_weighing(std::vector<std::uint32_t>(size, weight));
      REQUIRE(rr::are_all_alike(views, everyone));
      auto const total = rr::total_weight(views, everyone);
      for (int i = 0; i < 500; ++i) {
        auto const entropy = static_cast<std::uint32_t>(random());
        REQUIRE(rr::pick_alike(entropy, size) == rr::pick_by_weight(entropy, views, total, everyone));
      }
    }
  }
}

TEST_CASE("no replicas, one that is no candidate, or one of another weight: they are not all alike") {
  auto const everyone = [](rr::ReplicaView const&) { return true; };
  auto const views = replicas_weighing({2, 2, 2});
  CHECK(rr::are_all_alike(views, everyone));
  CHECK_FALSE(rr::are_all_alike({}, everyone));
  for (std::size_t odd = 0; odd < views.size(); ++odd) {
    CHECK_FALSE(rr::are_all_alike(views, [&](rr::ReplicaView const& view) { return view.id != odd; }));
    auto others = views;
    others[odd].weight = 3;
    CHECK_FALSE(rr::are_all_alike(others, everyone));
  }
}
