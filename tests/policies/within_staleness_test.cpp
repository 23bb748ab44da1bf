#include "replica_router/policies/within_staleness.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <random>
#include <type_traits>

#include "replica_router/errors.hpp"
#include "replica_router/policies/random.hpp"
#include "replica_router/policies/round_robin.hpp"
#include "replicas.hpp"

namespace rr = replica_router;
using rr::Freshness;
using rr::ReadRequest;
using rr::TimePoint;
using rr::WithinStaleness;
using namespace rr::testing;
using namespace std::chrono_literals;

TEST_CASE("a staleness bound demands everything the primary had that long ago, and nothing else") {
  WithinStaleness policy{3s, rr::RoundRobin{}};
  ReadRequest read;
  read.now = TimePoint{100s};
  read.last_commit = {rr::Lsn{7}, 1, TimePoint{99s}};
  CHECK(policy.contract(read) == Freshness{.as_of = TimePoint{97s}});
}

TEST_CASE("the strictest of nested bounds counts, in whatever order they are nested") {
  std::mt19937_64 random{1};
  for (int i = 0; i < 1'000; ++i) {
    auto const a = rr::Duration(1 + static_cast<rr::Duration::rep>(random() % 1'000));
    auto const b = rr::Duration(1 + static_cast<rr::Duration::rep>(random() % 1'000));
    auto const c = rr::Duration(1 + static_cast<rr::Duration::rep>(random() % 1'000));
    ReadRequest read;
    read.now = TimePoint{rr::Duration(static_cast<rr::Duration::rep>(random() % 10'000))};
    WithinStaleness<WithinStaleness<WithinStaleness<rr::Random>>> abc{
        a, WithinStaleness<WithinStaleness<rr::Random>>{b, WithinStaleness<rr::Random>{c}}};
    WithinStaleness<WithinStaleness<WithinStaleness<rr::Random>>> cba{
        c, WithinStaleness<WithinStaleness<rr::Random>>{b, WithinStaleness<rr::Random>{a}}};
    REQUIRE(abc.contract(read) == Freshness{.as_of = read.now - std::min({a, b, c})});
    REQUIRE(cba.contract(read) == abc.contract(read));
  }
}

TEST_CASE("a bound longer than time demands nothing") {
  WithinStaleness policy{rr::Duration::max()};
  ReadRequest read;
  CHECK(policy.contract(read).demands_nothing());
  read.now = TimePoint{-1s};
  CHECK(policy.contract(read).demands_nothing());
  read.now = TimePoint{1s};
  CHECK(policy.contract(read).as_of < TimePoint{-200h});
}

TEST_CASE("a bound leaves the choice to the inner policy") {
  WithinStaleness policy{1s, rr::RoundRobin{}};
  auto const views = replicas(3);
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(policy.choose({}, views) == i % 3);
  }
}

TEST_CASE("a bound that is not longer than zero is refused") {
  CHECK_THROWS_AS(WithinStaleness{0s}, rr::ConfigError);
  CHECK_THROWS_AS((WithinStaleness{-1s, rr::Random{}}), rr::ConfigError);
}

TEST_CASE("the inner policy's type is deduced") {
  STATIC_CHECK(std::is_same_v<decltype(WithinStaleness{1s}), WithinStaleness<rr::LeastLag>>);
  STATIC_CHECK(std::is_same_v<decltype(WithinStaleness{1s, rr::Random{}}), WithinStaleness<rr::Random>>);
}
