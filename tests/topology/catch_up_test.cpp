#include "replica_router/topology/catch_up.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <chrono>
#include <optional>

namespace rr = replica_router;
using namespace std::chrono_literals;
using Catch::Matchers::WithinRel;

namespace {

constexpr auto start = rr::TimePoint{1h};

/// A replica on timeline 1 that has replayed up to 10000, as told a second after the start.
rr::NodeFacts replica() {
  rr::NodeFacts out;
  out.health = rr::Health::up;
  out.role = rr::Role::replica;
  out.lineage = rr::Lineage::same;
  out.primary_timeline = 1;
  out.position = rr::Lsn{10'000};
  out.probed_at = start + 1s;
  out.as_of = start;
  return out;
}

/// The primary was at 50000 two seconds after the start.
rr::ClusterFacts cluster() {
  rr::ClusterFacts out;
  out.timeline = 1;
  out.position = rr::Lsn{50'000};
  out.position_at = start + 2s;
  return out;
}

}  // namespace

TEST_CASE("a rate is known after two answers of a replica that was behind all the time between") {
  rr::ReplayRate rate;
  CHECK(rate.bytes_per_second() == 0);
  rate.sample(rr::Lsn{1'000}, start, rr::Lsn{9'000});
  CHECK(rate.bytes_per_second() == 0);
  rate.sample(rr::Lsn{3'000}, start + 500ms, rr::Lsn{9'500});
  CHECK_THAT(rate.bytes_per_second(), WithinRel(4'000.0, 1e-9));
}

TEST_CASE("a replica that keeps up has no rate: it replays as fast as the primary writes") {
  rr::ReplayRate rate;
  rate.sample(rr::Lsn{1'000}, start, rr::Lsn{1'200});
  rate.sample(rr::Lsn{1'200}, start + 500ms, rr::Lsn{1'300});
  CHECK(rate.bytes_per_second() == 0);
  rate.sample(rr::Lsn{1'299}, start + 600ms, rr::Lsn{1'400});
  CHECK(rate.bytes_per_second() > 0);
}

TEST_CASE("a replica that stands still has no rate, nor has one that went back") {
  rr::ReplayRate rate;
  rate.sample(rr::Lsn{1'000}, start, rr::Lsn{9'000});
  rate.sample(rr::Lsn{2'000}, start + 1s, rr::Lsn{9'000});
  REQUIRE(rate.bytes_per_second() > 0);
  rate.sample(rr::Lsn{2'000}, start + 2s, rr::Lsn{9'000});
  CHECK(rate.bytes_per_second() == 0);
  rate.sample(rr::Lsn{500}, start + 3s, rr::Lsn{9'000});
  CHECK(rate.bytes_per_second() == 0);
}

TEST_CASE("an answer to an earlier question than the last one is no measure") {
  rr::ReplayRate rate;
  rate.sample(rr::Lsn{1'000}, start, rr::Lsn{9'000});
  rate.sample(rr::Lsn{2'000}, start + 1s, rr::Lsn{9'000});
  rate.sample(rr::Lsn{4'000}, start + 1s, rr::Lsn{9'000});
  rate.sample(rr::Lsn{4'000}, start, rr::Lsn{9'000});
  CHECK_THAT(rate.bytes_per_second(), WithinRel(1'000.0, 1e-9));
}

TEST_CASE("a demand stands for a position of the primary, once one is known for it") {
  auto const facts = replica();
  SECTION("nothing is wanted of a replica that meets it") {
    CHECK(rr::wanted_position(facts, {}, cluster()) == rr::Lsn{});
    CHECK(rr::wanted_position(facts, {.position = {rr::Lsn{9'000}, 1, start + 1s}}, cluster()) == rr::Lsn{});
  }
  SECTION("a commit's own position, before its page header") {
    CHECK(rr::wanted_position(facts, {.position = {rr::Lsn{16'384 + 24}, 1, start + 1s}}, cluster()) ==
          rr::Lsn{16'384});
  }
  SECTION("a moment: the first sample at or after it") {
    CHECK(rr::wanted_position(facts, {.as_of = start + 2s}, cluster()) == rr::Lsn{50'000});
    CHECK(rr::wanted_position(facts, {.as_of = start + 2s + 1ns}, cluster()) == std::nullopt);
    CHECK(rr::wanted_position(facts, {.position = {{}, 0, start + 2s}}, cluster()) == rr::Lsn{50'000});
    CHECK(rr::wanted_position(facts, {.position = {{}, 0, start + 3s}}, cluster()) == std::nullopt);
  }
  SECTION("both: the later") {
    CHECK(rr::wanted_position(facts, {.position = {rr::Lsn{60'000}, 1, start + 2s}, .as_of = start + 1s}, cluster()) ==
          rr::Lsn{60'000});
  }
  SECTION("nothing of a replica whose log may be another's") {
    auto stray = facts;
    stray.lineage = rr::Lineage::unknown;
    CHECK(rr::wanted_position(stray, {.as_of = start + 1s}, cluster()) == std::nullopt);
  }
}

TEST_CASE("the arrival is foretold from the last answer on, and never sooner than 2 ms after it") {
  auto facts = replica();
  CHECK(rr::replayed_at(facts, rr::Lsn{50'000}) == rr::never);
  facts.replay_rate = 20'000;
  CHECK(rr::replayed_at(facts, rr::Lsn{50'000}) == facts.probed_at + 2s);
  CHECK(rr::replayed_at(facts, rr::Lsn{10'001}) == facts.probed_at + 2ms);
  CHECK(rr::replayed_at(facts, rr::Lsn{1}) == facts.probed_at + 2ms);
  CHECK(rr::replayed_at(facts, rr::Lsn{~std::uint64_t{0}}) == facts.probed_at + 24h);
}
