#include "replica_router/policies/sticky_after_write.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <type_traits>

#include "replica_router/errors.hpp"
#include "replica_router/policies/random.hpp"
#include "replica_router/policies/round_robin.hpp"
#include "replica_router/policies/within_staleness.hpp"
#include "replicas.hpp"

namespace rr = replica_router;
using rr::CausalPosition;
using rr::Freshness;
using rr::Lsn;
using rr::Placement;
using rr::ReadRequest;
using rr::StickyAfterWrite;
using rr::TimePoint;
using rr::WithinStaleness;
using namespace rr::testing;
using namespace std::chrono_literals;

namespace {

ReadRequest read_after(CausalPosition commit, TimePoint now) {
  ReadRequest read;
  read.now = now;
  read.last_commit = commit;
  return read;
}

}  // namespace

TEST_CASE("a session that has written nothing demands nothing") {
  StickyAfterWrite<> policy;
  CHECK(policy.contract(read_after({}, TimePoint{10s})).demands_nothing());
  StickyAfterWrite pinning{rr::Random{}, 5s};
  CHECK(pinning.contract(read_after({}, TimePoint{10s})).demands_nothing());
  CHECK(pinning.contract(ReadRequest{}).demands_nothing());
}

TEST_CASE("a session's last commit is demanded for ever") {
  StickyAfterWrite<> policy;
  CausalPosition const commit{Lsn{70}, 3, TimePoint{10s}};
  for (auto const after : {0s, 1s, 3'600s, 1'000'000s}) {
    CHECK(policy.contract(read_after(commit, commit.at + after)) == Freshness{.position = commit});
  }
  CausalPosition const not_captured{Lsn{}, 0, TimePoint{10s}};
  CHECK(policy.contract(read_after(not_captured, TimePoint{20s})) == Freshness{.position = not_captured});
}

TEST_CASE("a window pins to the primary, and its end does not release the position") {
  StickyAfterWrite policy{rr::Random{}, 2s};
  CausalPosition const commit{Lsn{70}, 3, TimePoint{10s}};
  Freshness const pinned{.position = commit, .placement = Placement::primary_only};
  Freshness const proven{.position = commit};
  CHECK(policy.contract(read_after(commit, TimePoint{10s})) == pinned);
  CHECK(policy.contract(read_after(commit, TimePoint{12s - 1ns})) == pinned);
  CHECK(policy.contract(read_after(commit, TimePoint{12s})) == proven);
  CHECK(policy.contract(read_after(commit, TimePoint{1'000'000s})) == proven);
  // Another thread's commit may be a little later than the moment this read was placed at.
  CHECK(policy.contract(read_after(commit, TimePoint{9s})) == pinned);
}

TEST_CASE("a window longer than time pins for ever, and none never pins") {
  CausalPosition const commit{Lsn{70}, 3, TimePoint{-10s}};
  StickyAfterWrite forever{rr::Random{}, rr::Duration::max()};
  CHECK(forever.contract(read_after(commit, TimePoint{-5s})).placement == Placement::primary_only);
  CHECK(forever.contract(read_after(commit, rr::never)).placement == Placement::primary_only);
  StickyAfterWrite<> none;
  CHECK(none.contract(read_after(commit, TimePoint{-15s})).placement == Placement::anywhere);
}

TEST_CASE("what nested decorators demand is the stricter of each, in whatever order they are nested") {
  std::mt19937_64 random{1};
  auto const moment = [&] { return TimePoint{std::chrono::seconds(random() % 100)}; };
  for (int i = 0; i < 2'000; ++i) {
    auto const window = std::chrono::seconds(random() % 50);
    auto const bound = std::chrono::seconds(1 + random() % 50);
    StickyAfterWrite outside{WithinStaleness{bound, rr::Random{}}, window};
    WithinStaleness inside{bound, StickyAfterWrite{rr::Random{}, window}};
    auto const read = read_after(
        {Lsn{random() % 3}, static_cast<std::uint32_t>(random() % 2), random() % 4 == 0 ? rr::never : moment()},
        moment());
    auto const demand = outside.contract(read);
    REQUIRE(demand == inside.contract(read));
    REQUIRE(demand.as_of == read.now - bound);
    bool const has_written = read.last_commit.at != rr::never;
    REQUIRE(demand.position == (has_written ? read.last_commit : CausalPosition{}));
    bool const is_pinned = has_written && window > 0s && read.now - read.last_commit.at < window;
    REQUIRE(demand.placement == (is_pinned ? Placement::primary_only : Placement::anywhere));
  }
}

TEST_CASE("stickiness leaves the choice to the inner policy") {
  StickyAfterWrite policy{rr::RoundRobin{}};
  auto const views = replicas(3);
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(policy.choose({}, views) == i % 3);
  }
}

TEST_CASE("a negative pinning window is refused") {
  CHECK_THROWS_AS((StickyAfterWrite{rr::Random{}, -1s}), rr::ConfigError);
}

TEST_CASE("the inner policy's type is deduced, and the default one needs no argument") {
  STATIC_CHECK(std::is_same_v<decltype(StickyAfterWrite{}), StickyAfterWrite<rr::LeastLag>>);
  STATIC_CHECK(std::is_same_v<decltype(StickyAfterWrite{rr::RoundRobin{}}), StickyAfterWrite<rr::RoundRobin>>);
  STATIC_CHECK(std::is_same_v<decltype(StickyAfterWrite{rr::Random{}, 2s}), StickyAfterWrite<rr::Random>>);
  StickyAfterWrite<rr::LeastLag> const from_braces = {};
  CHECK(from_braces.text() == "sticky(least-lag)");
}
