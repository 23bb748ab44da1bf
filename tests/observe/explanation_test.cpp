#include "replica_router/observe/explanation.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <set>
#include <string>

namespace rr = replica_router;
using rr::Duration;
using rr::Lsn;
using rr::NodeFacts;
using rr::readable;
using rr::TimePoint;
using rr::Verdict;
using namespace std::chrono_literals;

namespace {

constexpr TimePoint now = TimePoint{} + 1h;

std::string reason(NodeFacts const& facts, Verdict verdict, rr::Freshness const& demand = {},
                   std::string const& probe_reason = {}) {
  return rr::reason_text(facts, verdict, demand, 1s, now, probe_reason);
}

NodeFacts on_the_primarys_timeline() {
  NodeFacts facts;
  facts.lineage = rr::Lineage::same;
  facts.timeline = 3;
  facts.primary_timeline = 3;
  facts.position = Lsn{0x1'0000'0000};
  return facts;
}

}  // namespace

TEST_CASE("durations are written for people, in the unit that suits them") {
  CHECK(readable(0s) == "0 us");
  CHECK(readable(999ns) == "0 us");
  CHECK(readable(850us) == "850 us");
  CHECK(readable(999us) == "999 us");
  CHECK(readable(1ms) == "1.0 ms");
  CHECK(readable(12'345us) == "12.3 ms");
  CHECK(readable(999'949us) == "999.9 ms");
  CHECK(readable(999'950us) == "1.0 s");
  CHECK(readable(1s) == "1.0 s");
  CHECK(readable(3'210ms) == "3.2 s");
  CHECK(readable(1h) == "3600.0 s");
}

TEST_CASE("the largest duration is an unknown one, all others are told") {
  CHECK(readable(Duration::max()) == "unknown");
  CHECK(readable(Duration::max() - 1ns) != "unknown");
}

TEST_CASE("staleness counts from the proven moment, and without one it is unknown") {
  NodeFacts facts;
  CHECK(rr::staleness_of(facts, now) == Duration::max());
  facts.as_of = now - 3s;
  CHECK(rr::staleness_of(facts, now) == 3s);
  facts.as_of = now;
  CHECK(rr::staleness_of(facts, now) == 0s);
}

TEST_CASE("evidence that comes in after the clock was read makes no staleness below zero") {
  NodeFacts facts;
  facts.as_of = now + 1us;
  CHECK(rr::staleness_of(facts, now) == 0s);
}

TEST_CASE("a replica behind max_lag is told with both figures") {
  NodeFacts facts;
  facts.lag = 3'210ms;
  CHECK(reason(facts, Verdict::behind_max_lag) == "3.2 s behind, max_lag is 1.0 s");
  facts.lag = Duration::max();
  CHECK(reason(facts, Verdict::behind_max_lag).find("unknown") != std::string::npos);
}

TEST_CASE("a position that is not reached is told with the bytes that are missing") {
  auto const facts = on_the_primarys_timeline();
  rr::Freshness const demand{{Lsn{0x1'0000'0123}, 3, now}};
  CHECK(reason(facts, Verdict::position_not_reached, demand) ==
        "replayed up to 1/0, the read must see 1/123: 291 bytes more");
}

TEST_CASE("a position that cannot be compared is not told in bytes") {
  auto const facts = on_the_primarys_timeline();
  for (rr::CausalPosition const& position :
       {rr::CausalPosition{Lsn{}, 0, now}, rr::CausalPosition{Lsn{0x9'0000'0000}, 2, now}}) {
    CHECK(reason(facts, Verdict::position_not_reached, {position}) == "not proven to have the session's last write");
  }
}

TEST_CASE("a replica of another or an unknown timeline is told so") {
  auto facts = on_the_primarys_timeline();
  facts.lineage = rr::Lineage::other;
  facts.timeline = 2;
  rr::Freshness const demand{{Lsn{0x1'0000'0123}, 3, now}};
  CHECK(reason(facts, Verdict::position_not_reached, demand) ==
        "not proven to follow the primary's timeline 3 (its own: 2)");
  facts.timeline = 0;
  CHECK(reason(facts, Verdict::position_not_reached, demand) ==
        "not proven to follow the primary's timeline 3 (its own: unknown)");
}

TEST_CASE("staleness is told with the bound and the limit") {
  auto facts = on_the_primarys_timeline();
  facts.as_of = now - 2500ms;
  CHECK(reason(facts, Verdict::too_stale, {{}, now - 500ms}) == "proven at most 2.5 s stale, the limit is 500.0 ms");
  facts.as_of = rr::never;
  CHECK(reason(facts, Verdict::too_stale, {{}, now - 500ms}) == "its staleness is unknown");
}

TEST_CASE("a node that does not answer is told with the server's or libpq's own words") {
  CHECK(reason({}, Verdict::down, {}, "connection refused") == "down: connection refused");
  CHECK(reason({}, Verdict::down) == "down");
  CHECK(reason({}, Verdict::unheard_of, {}, "no such host") == "not heard of yet: no such host");
}

TEST_CASE("a node of another cluster is told with what gives it away") {
  CHECK(reason({}, Verdict::foreign, {}, "its system identifier is 2, this cluster's is 1") ==
        "quarantined: of another cluster: its system identifier is 2, this cluster's is 1");
}

TEST_CASE("every other verdict is told in its own words, without an old probe's reason") {
  std::set<std::string> texts;
  for (auto const verdict :
       {Verdict::eligible, Verdict::not_a_replica, Verdict::fenced, Verdict::placement, Verdict::failed_this_read}) {
    CHECK(reason({}, verdict, {}, "an old reason") == rr::text_of(verdict));
    texts.insert(reason({}, verdict));
  }
  CHECK(texts.size() == 5);
}

TEST_CASE("an explanation is one line for the choice and one for each node") {
  rr::Explanation explanation;
  CHECK(explanation.text() == "no node would serve this read");
  explanation.chosen = "replica-1";
  explanation.nodes = {{"primary", Verdict::not_a_replica, "the primary"},
                       {"replica-1", Verdict::eligible, "eligible"}};
  CHECK(explanation.text() ==
        "replica-1 would serve this read\n"
        "primary: the primary\n"
        "replica-1: eligible");
}
