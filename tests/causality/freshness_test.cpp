#include "replica_router/causality/freshness.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

namespace rr = replica_router;
using rr::CausalPosition;
using rr::Freshness;
using rr::Lsn;
using rr::Placement;
using namespace std::chrono_literals;

namespace {

/// What a replica has: its position on its timeline, and the moment of the primary that it is proven to have.
struct Replica {
  Lsn lsn;
  std::uint32_t timeline;
  rr::TimePoint as_of;
};

// The primary's history in these tests: at second s it is at LSN 100·s, and from second 5 on it is on timeline 2.
std::uint32_t timeline_at(std::uint64_t second) { return second < 5 ? 1 : 2; }

rr::TimePoint moment(std::uint64_t second) { return rr::TimePoint{} + std::chrono::seconds{second}; }

bool meets(Replica const& replica, CausalPosition const& wanted) {
  return wanted.at == rr::never || replica.as_of >= wanted.at ||
         (wanted.lsn && wanted.timeline == replica.timeline && replica.lsn >= wanted.lsn);
}

bool meets(Replica const& replica, Freshness const& wanted) {
  return meets(replica, wanted.position) && replica.as_of >= wanted.as_of && wanted.placement == Placement::anywhere;
}

/// No commit, or one made in some second and heard of then or later, with its LSN or without.
CausalPosition some_position(std::mt19937_64& random) {
  auto const second = random() % 10;
  auto const heard = moment(second + random() % 3);
  switch (random() % 4) {
    case 0: return {};
    case 1: return {Lsn{}, 0, heard};
    default: return {Lsn{100 * second + 1}, timeline_at(second), heard};
  }
}

Freshness some_freshness(std::mt19937_64& random) {
  return {some_position(random), random() % 2 == 0 ? rr::never : moment(random() % 10),
          random() % 8 == 0 ? Placement::primary_only : Placement::anywhere};
}

std::vector<Replica> const& all_replicas() {
  static auto const replicas = [] {
    std::vector<Replica> out;
    for (std::uint64_t replayed = 0; replayed <= 10; ++replayed) {
      for (std::uint64_t proven = 0; proven <= replayed; ++proven) {
        out.push_back({Lsn{100 * replayed + 1}, timeline_at(replayed), moment(proven)});
        out.push_back({Lsn{100 * replayed}, timeline_at(replayed), proven == 0 ? rr::never : moment(proven)});
      }
    }
    return out;
  }();
  return replicas;
}

}  // namespace

TEST_CASE("a joined demand is met only where both are met") {
  std::mt19937_64 random{1};
  int met = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto const a = some_freshness(random);
    auto const b = some_freshness(random);
    auto const both = rr::joined(a, b);
    for (auto const& replica : all_replicas()) {
      if (meets(replica, both)) {
        ++met;
        REQUIRE(meets(replica, a));
        REQUIRE(meets(replica, b));
      }
    }
  }
  CHECK(met > 100'000);
}

TEST_CASE("of two commits the later moment is kept, so that whoever has everything of then has both") {
  std::mt19937_64 random{2};
  for (int i = 0; i < 20'000; ++i) {
    auto const a = some_position(random);
    auto const b = some_position(random);
    REQUIRE(rr::later_of(a, b).at == std::max(a.at, b.at));
  }
}

TEST_CASE("joining is indifferent to order, and to joining again") {
  std::mt19937_64 random{3};
  for (int i = 0; i < 20'000; ++i) {
    auto const a = some_freshness(random);
    auto const b = some_freshness(random);
    REQUIRE(rr::joined(a, b) == rr::joined(b, a));
    REQUIRE(rr::joined(a, a) == a);
    REQUIRE(rr::joined(rr::joined(a, b), b) == rr::joined(a, b));
    REQUIRE(rr::joined(a, Freshness{}) == a);
  }
}

TEST_CASE("no demand is none") {
  CHECK(Freshness{}.demands_nothing());
  CHECK_FALSE(Freshness{.position = {Lsn{}, 0, moment(1)}}.demands_nothing());
  CHECK_FALSE(Freshness{.as_of = moment(1)}.demands_nothing());
  CHECK_FALSE(Freshness{.placement = Placement::primary_only}.demands_nothing());
}

TEST_CASE("two commits of one timeline keep the higher LSN, of two timelines only the moment") {
  CausalPosition const first{Lsn{100}, 1, moment(1)};
  CausalPosition const second{Lsn{200}, 1, moment(2)};
  CausalPosition const after_failover{Lsn{150}, 2, moment(3)};
  CHECK(rr::later_of(first, second) == second);
  CHECK(rr::later_of(second, after_failover) == CausalPosition{Lsn{}, 0, moment(3)});
}
