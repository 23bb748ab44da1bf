#include "replica_router/policies/prefer_zone.hpp"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "replica_router/policies/round_robin.hpp"
#include "replica_router/policies/sticky_after_write.hpp"
#include "replicas.hpp"

namespace rr = replica_router;
using rr::PreferZone;
using rr::ReadRequest;
using rr::ReplicaView;
using namespace rr::testing;

namespace {

/// Takes the place it is told, and notes the ids it was shown.
struct Told {
  std::optional<std::size_t> choose(ReadRequest const&, std::span<ReplicaView const> eligible) {
    shown->clear();
    for (auto const& view : eligible) {
      shown->push_back(view.id);
    }
    return *answer;
  }

  std::vector<std::size_t>* shown;
  std::optional<std::size_t> const* answer;
};

}  // namespace

TEST_CASE("the inner policy sees the replicas of the zone, or all, and its choice is found again among all") {
  std::mt19937_64 random{1};
  std::vector<std::size_t> shown;
  std::optional<std::size_t> answer;
  PreferZone policy{Told{&shown, &answer}};
  constexpr std::array<std::string_view, 4> zones{"", "a", "b", "bb"};
  for (int round = 0; round < 5'000; ++round) {
    auto views = replicas(1 + random() % (round % 10 == 0 ? 60 : 8));
    for (auto& view : views) {
      view.zone = zones[random() % (round % 7 == 0 ? 2 : zones.size())];
    }
    ReadRequest read;
    read.zone = zones[random() % zones.size()];
    std::vector<std::size_t> near;
    std::vector<std::size_t> all;
    for (auto const& view : views) {
      all.push_back(view.id);
      if (!read.zone.empty() && view.zone == read.zone) {
        near.push_back(view.id);
      }
    }
    auto const& expected = near.empty() ? all : near;
    answer = random() % expected.size();
    auto const chosen = policy.choose(read, views);
    REQUIRE(shown == expected);
    REQUIRE(views.at(chosen.value()).id == expected[*answer]);

    answer = expected.size() + random() % 3;
    REQUIRE(policy.choose(read, views).value() >= views.size());
    answer = std::nullopt;
    REQUIRE_FALSE(policy.choose(read, views));
  }
}

TEST_CASE("a zone is shared fairly, and left only when nobody is there") {
  PreferZone policy{rr::RoundRobin{}};
  auto views = replicas(5);
  views[1].zone = views[3].zone = "east";
  ReadRequest read;
  read.zone = "east";
  std::vector<int> served(views.size());
  for (int i = 0; i < 100; ++i) {
    ++served.at(policy.choose(read, views).value());
  }
  CHECK(served == std::vector<int>{0, 50, 0, 50, 0});
  auto const others = without(without(views, 1), 3);
  std::vector<int> fallen_back(others.size());
  for (int i = 0; i < 90; ++i) {
    ++fallen_back.at(policy.choose(read, others).value());
  }
  CHECK(fallen_back == std::vector<int>{30, 30, 30});
}

TEST_CASE("preferring a zone demands what the inner policy demands") {
  STATIC_CHECK_FALSE(rr::DemandingPolicy<PreferZone<rr::RoundRobin>>);
  STATIC_CHECK(rr::DemandingPolicy<PreferZone<rr::StickyAfterWrite<rr::RoundRobin>>>);
  CHECK_FALSE(rr::demands_freshness(PreferZone<rr::RoundRobin>{}));
  CHECK(rr::demands_freshness(PreferZone<rr::StickyAfterWrite<>>{}));
  PreferZone policy{rr::StickyAfterWrite{rr::RoundRobin{}}};
  ReadRequest read;
  read.last_commit = {rr::Lsn{7}, 1, rr::TimePoint{std::chrono::seconds{5}}};
  CHECK(policy.contract(read).position == read.last_commit);
}
