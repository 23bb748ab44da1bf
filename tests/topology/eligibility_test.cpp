#include "replica_router/topology/eligibility.hpp"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "replica_router/topology/published.hpp"

namespace rr = replica_router;
using rr::CausalPosition;
using rr::Duration;
using rr::Freshness;
using rr::Health;
using rr::Lineage;
using rr::Lsn;
using rr::NodeFacts;
using rr::Placement;
using rr::Role;
using rr::TimePoint;
using rr::Verdict;
using namespace std::chrono_literals;

namespace {

constexpr Duration max_lag = 30s;

constexpr TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

/// A replica that has everything the primary had at 100 s, up to position 5000.
NodeFacts fresh() {
  NodeFacts facts;
  facts.health = Health::up;
  facts.role = Role::replica;
  facts.lineage = Lineage::same;
  facts.timeline = 2;
  facts.primary_timeline = 2;
  facts.is_measured = true;
  facts.position = Lsn{5000};
  facts.as_of = at(100s);
  facts.lag = 0s;
  return facts;
}

Verdict judge(NodeFacts const& facts, Freshness const& demand = {}) { return rr::judge(facts, demand, max_lag); }

Freshness must_see(Lsn lsn, std::uint32_t timeline, TimePoint moment) { return {{lsn, timeline, moment}}; }

/// The rules told once more, as one sentence each: the first that is broken is the verdict.
Verdict plainly(NodeFacts const& f, Freshness const& d) {
  bool const is_heard_of = f.health != Health::unknown && (f.role != Role::unknown || f.health == Health::down);
  bool const is_same_history = f.lineage == Lineage::same;
  bool const has_moment = is_same_history && f.as_of != rr::never && f.as_of >= d.position.at;
  auto const in_page = d.position.lsn.bytes() % 8192;
  auto const floor = in_page == 24 || in_page == 40 ? d.position.lsn.bytes() - in_page : d.position.lsn.bytes();
  bool const has_lsn = is_same_history && d.position.lsn.bytes() != 0 && d.position.timeline == f.primary_timeline &&
                       f.position.bytes() >= floor;
  bool const sees_commit = d.position.at == rr::never || has_moment || has_lsn;
  bool const is_fresh = d.as_of == rr::never || (is_same_history && f.as_of != rr::never && f.as_of >= d.as_of);
  bool const is_within_lag = !f.is_measured || (f.lag != Duration::max() && f.lag <= max_lag);
  return !is_heard_of                             ? Verdict::unheard_of
         : f.health == Health::down               ? Verdict::down
         : f.role == Role::primary                ? Verdict::not_a_replica
         : f.role == Role::fenced                 ? Verdict::fenced
         : f.role == Role::foreign                ? Verdict::foreign
         : d.placement == Placement::primary_only ? Verdict::placement
         : !is_within_lag                         ? Verdict::behind_max_lag
         : !sees_commit                           ? Verdict::position_not_reached
         : !is_fresh                              ? Verdict::too_stale
                                                  : Verdict::eligible;
}

constexpr std::array healths{Health::unknown, Health::up, Health::down};
constexpr std::array roles{Role::unknown, Role::primary, Role::replica, Role::fenced, Role::foreign};
constexpr std::array lineages{Lineage::unknown, Lineage::same, Lineage::other};
constexpr std::array positions{Lsn{}, Lsn{8191}, Lsn{8192}, Lsn{8232}, Lsn{9000}};
constexpr std::array moments{rr::never, at(6s), at(7s), at(8s)};
constexpr std::array lags{Duration{0}, max_lag, max_lag + Duration{1}, Duration::max()};
constexpr std::array floors{Lsn{}, Lsn{8192}, Lsn{8193}, Lsn{8216}, Lsn{8232}};

}  // namespace

TEST_CASE("every combination is judged as the plain rules say") {
  std::size_t judged = 0;
  std::set<Verdict> seen;
  for (auto const health : healths) {
    for (auto const role : roles) {
      for (auto const lineage : lineages) {
        for (auto const position : positions) {
          for (auto const as_of : moments) {
            for (auto const lag : lags) {
              for (std::uint32_t primary_timeline = 0; primary_timeline < 3; ++primary_timeline) {
                NodeFacts facts;
                facts.health = health;
                facts.role = role;
                facts.lineage = lineage;
                facts.position = position;
                facts.as_of = as_of;
                facts.lag = lag;
                facts.primary_timeline = primary_timeline;
                facts.is_measured = primary_timeline != 1;
                auto const standing = rr::standing_of(facts, max_lag);
                if (standing.verdict != plainly(facts, {})) {
                  FAIL("the standing is " << rr::text_of(standing.verdict) << " instead of "
                                          << rr::text_of(plainly(facts, {})));
                }
                for (auto const floor : floors) {
                  for (std::uint32_t timeline = 0; timeline < 3; ++timeline) {
                    for (auto const commit_at : {rr::never, at(7s)}) {
                      for (auto const wanted : {rr::never, at(7s)}) {
                        for (auto const placement : {Placement::anywhere, Placement::primary_only}) {
                          Freshness const demand{{floor, timeline, commit_at}, wanted, placement};
                          auto const verdict = judge(facts, demand);
                          seen.insert(verdict);
                          ++judged;
                          if (verdict != plainly(facts, demand)) {
                            FAIL(rr::text_of(health)
                                 << ", " << rr::text_of(role) << ", lineage " << static_cast<int>(lineage) << ", at "
                                 << position.bytes() << ", as of " << as_of.time_since_epoch().count() << ", lag "
                                 << lag.count() << ", primary timeline " << primary_timeline << "; demanded "
                                 << floor.bytes() << " on " << timeline << (commit_at == rr::never ? "" : " at 7 s")
                                 << (wanted == rr::never ? "" : ", as of 7 s") << ": " << rr::text_of(verdict)
                                 << " instead of " << rr::text_of(plainly(facts, demand)));
                          }
                        }
                      }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
  CHECK(judged == std::size_t{3} * 5 * 3 * 5 * 4 * 4 * 3 * 5 * 3 * 2 * 2 * 2);
  CHECK(seen.size() == 10);  // all but `failed_this_read`, which is no judgement on the node
}

TEST_CASE("a standing has all that routing looks at, in one cache line") {
  auto facts = fresh();
  facts.returned_at = at(3s);
  facts.lag = 4s;
  facts.latency = 5ms;
  facts.epoch = 6;
  facts.primary_timeline = 7;
  auto const standing = rr::standing_of(facts, max_lag);
  CHECK(standing.as_of == facts.as_of);
  CHECK(standing.returned_at == facts.returned_at);
  CHECK(standing.lag == facts.lag);
  CHECK(standing.latency == facts.latency);
  CHECK(standing.position == facts.position);
  CHECK(standing.epoch == facts.epoch);
  CHECK(standing.primary_timeline == facts.primary_timeline);
  CHECK(standing.lineage == facts.lineage);
  CHECK(standing.verdict == Verdict::eligible);
  CHECK(sizeof(rr::Published<rr::Standing>) <= 64);
}

TEST_CASE("a replica that is up, near and of this cluster serves what demands nothing") {
  CHECK(judge(fresh()) == Verdict::eligible);
}

TEST_CASE("unknown is never fresh") {
  auto facts = fresh();
  facts.as_of = rr::never;
  CHECK(judge(facts, must_see({}, 0, at(1s))) == Verdict::position_not_reached);
  CHECK(judge(facts, {{}, at(1s)}) == Verdict::too_stale);
  facts = fresh();
  facts.lineage = Lineage::unknown;
  CHECK(judge(facts, must_see(Lsn{1}, 2, at(1s))) == Verdict::position_not_reached);
  CHECK(judge(facts, {{}, at(1s)}) == Verdict::too_stale);
  facts = fresh();
  facts.lag = Duration::max();
  CHECK(judge(facts) == Verdict::behind_max_lag);
  CHECK(rr::judge(facts, {}, Duration::max() - Duration{1}) == Verdict::behind_max_lag);
  facts = fresh();
  facts.position = Lsn{};
  facts.as_of = rr::never;
  CHECK(judge(facts, must_see(Lsn{1}, 2, at(1s))) == Verdict::position_not_reached);
}

TEST_CASE("a commit is seen by its position or by a later moment") {
  auto const facts = fresh();
  CHECK(judge(facts, must_see(Lsn{5000}, 2, at(200s))) == Verdict::eligible);
  CHECK(judge(facts, must_see(Lsn{5001}, 2, at(200s))) == Verdict::position_not_reached);
  CHECK(judge(facts, must_see(Lsn{5001}, 2, at(100s))) == Verdict::eligible);
  CHECK(judge(facts, must_see({}, 0, at(100s))) == Verdict::eligible);
  CHECK(judge(facts, must_see({}, 0, at(101s))) == Verdict::position_not_reached);
}

TEST_CASE("a position of another timeline proves nothing, a moment on the same lineage does") {
  auto facts = fresh();
  CHECK(judge(facts, must_see(Lsn{1}, 1, at(200s))) == Verdict::position_not_reached);
  CHECK(judge(facts, must_see(Lsn{1}, 3, at(200s))) == Verdict::position_not_reached);
  CHECK(judge(facts, must_see(Lsn{9000}, 1, at(100s))) == Verdict::eligible);
  facts.lineage = Lineage::other;
  CHECK(judge(facts, must_see(Lsn{1}, 2, at(1s))) == Verdict::position_not_reached);
}

TEST_CASE("a position just past a page header is reached at the page's boundary") {
  for (std::uint64_t const header : {24U, 40U}) {
    auto facts = fresh();
    facts.position = Lsn{8192};
    CHECK(judge(facts, must_see(Lsn{8192 + header}, 2, at(200s))) == Verdict::eligible);
    CHECK(judge(facts, must_see(Lsn{8192 + header + 1}, 2, at(200s))) == Verdict::position_not_reached);
    facts.position = Lsn{8191};
    CHECK(judge(facts, must_see(Lsn{8192 + header}, 2, at(200s))) == Verdict::position_not_reached);
  }
}

TEST_CASE("max_lag is a limit that may be reached but not passed") {
  auto facts = fresh();
  facts.lag = max_lag;
  CHECK(judge(facts) == Verdict::eligible);
  facts.lag = max_lag + 1ns;
  CHECK(judge(facts) == Verdict::behind_max_lag);
}

TEST_CASE("where no position of a primary was ever known there is no lag to be judged by") {
  auto facts = fresh();
  facts.is_measured = false;
  facts.primary_timeline = 0;
  facts.lag = Duration::max();
  facts.as_of = rr::never;
  facts.lineage = Lineage::unknown;
  CHECK(judge(facts) == Verdict::eligible);
  CHECK(judge(facts, {{}, at(1s)}) == Verdict::too_stale);
}

TEST_CASE("only lack of proof can be mended by asking again") {
  for (auto const verdict :
       {Verdict::eligible, Verdict::unheard_of, Verdict::down, Verdict::not_a_replica, Verdict::fenced,
        Verdict::foreign, Verdict::behind_max_lag, Verdict::placement, Verdict::failed_this_read}) {
    CHECK_FALSE(rr::lacks_only_proof(verdict));
  }
  CHECK(rr::lacks_only_proof(Verdict::position_not_reached));
  CHECK(rr::lacks_only_proof(Verdict::too_stale));
}

TEST_CASE("every verdict has words of its own") {
  std::set<std::string_view> texts;
  for (int verdict = 0; verdict <= static_cast<int>(Verdict::failed_this_read); ++verdict) {
    texts.insert(rr::text_of(static_cast<Verdict>(verdict)));
  }
  CHECK(texts.size() == 11);
  CHECK(texts.count("unknown") == 0);
}
