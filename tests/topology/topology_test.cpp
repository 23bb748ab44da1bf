#include "replica_router/topology/topology.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace rr = replica_router;
using rr::Duration;
using rr::Health;
using rr::Lineage;
using rr::Lsn;
using rr::NodeId;
using rr::ProbeAnswer;
using rr::ProbeFailure;
using rr::Role;
using rr::RoleHint;
using rr::Suspicion;
using rr::TimePoint;
using rr::Topology;
using rr::Verdict;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t ours = 1000;
constexpr std::uint64_t theirs = 2000;
// The shortest pauses there are, so that they can be told.
constexpr std::uint64_t shortest = 1024;

/// A primary as node 0, two replicas as 1 and 2, and a clock.
struct Rig {
  Topology<> topology;
  TimePoint now{1h};
  NodeId primary = topology.add(RoleHint::primary);
  NodeId replica = topology.add(RoleHint::replica);
  NodeId other = topology.add(RoleHint::replica);

  void answer(NodeId id, bool is_in_recovery, Lsn position, std::uint32_t timeline = 1, std::uint64_t system = ours) {
    topology.asked(id, now);
    topology.answered(id, told(is_in_recovery, position, timeline, system), now);
  }
  ProbeAnswer told(bool is_in_recovery, Lsn position, std::uint32_t timeline = 1, std::uint64_t system = ours) const {
    ProbeAnswer out;
    out.is_in_recovery = is_in_recovery;
    out.position = position;
    out.timeline = timeline;
    out.system_identifier = system;
    out.asked_at = now;
    out.round_trip = 1ms;
    return out;
  }
  void writable(NodeId id, Lsn position, std::uint32_t timeline = 1) { answer(id, false, position, timeline); }
  void standby(NodeId id, Lsn position, std::uint32_t timeline = 1) { answer(id, true, position, timeline); }
  void refuse(NodeId id) {
    topology.asked(id, now);
    topology.failed(id, ProbeFailure::refused, now, shortest);
  }
  /// All three up, at one position, a moment ago.
  void settle(Lsn position = Lsn{5000}) {
    writable(primary, position);
    standby(replica, position);
    standby(other, position);
  }

  rr::NodeFacts const& facts(NodeId id) const { return topology.facts(id); }
  rr::ClusterFacts const& cluster() const { return topology.cluster(); }
  Duration until_due(NodeId id) const { return topology.due(id, now) - now; }
  Verdict judge(NodeId id, rr::Freshness const& demand = {}) const { return rr::judge(facts(id), demand, 30s); }
};

rr::Freshness must_see(Lsn lsn, std::uint32_t timeline, TimePoint moment) { return {{lsn, timeline, moment}}; }

}  // namespace

TEST_CASE("a node that was taken in is asked at once, and not again while the question is under way") {
  Rig rig;
  CHECK(rig.topology.due(rig.primary, rig.now) == rig.now);
  rig.topology.asked(rig.primary, rig.now);
  CHECK(rig.topology.due(rig.primary, rig.now + 1h) == TimePoint::max());
}

TEST_CASE("while reads go on nodes are asked at the base interval, without them at the idle one") {
  Rig rig;
  rig.settle();
  CHECK(rig.until_due(rig.replica) == 2s);
  rig.topology.demand(rig.now);
  CHECK(rig.until_due(rig.primary) == 250ms);
  CHECK(rig.until_due(rig.replica) == 250ms);
  rig.now += 2s;
  CHECK(rig.until_due(rig.replica) == -1750ms);
  rig.settle();
  rig.now += 1ms;  // the last demand is more than the idle interval ago
  CHECK(rig.until_due(rig.replica) == 2s - 1ms);
}

TEST_CASE("demand never goes back in time") {
  Rig rig;
  rig.settle();
  rig.topology.demand(rig.now);
  rig.topology.demand(rig.now - 1min);
  rig.topology.demand(rr::never);
  CHECK(rig.until_due(rig.replica) == 250ms);
}

TEST_CASE("a node that is down is asked when its pause is over, whatever happens meanwhile") {
  Rig rig;
  rig.settle();
  rig.topology.demand(rig.now);
  rig.refuse(rig.replica);
  CHECK(rig.topology.due(rig.replica, rig.now) == rig.topology.health(rig.replica).retry_at());
  CHECK(rig.until_due(rig.replica) == 250ms);
  rig.refuse(rig.replica);
  CHECK(rig.until_due(rig.replica) == 500ms);
  rig.topology.suspect(rig.replica, Suspicion::lost_connection);
  rig.topology.nudge({Lsn{6000}, 1, rig.now});
  CHECK(rig.until_due(rig.replica) == 500ms);
}

TEST_CASE("a late answer is still waited for until the node is down") {
  Rig rig;
  rig.settle();
  rig.topology.asked(rig.replica, rig.now);
  for (int i = 0; i < 2; ++i) {
    rig.topology.failed(rig.replica, ProbeFailure::late, rig.now, shortest);
    REQUIRE(rig.topology.due(rig.replica, rig.now) == TimePoint::max());
    REQUIRE(rig.facts(rig.replica).health == Health::up);
  }
  rig.topology.failed(rig.replica, ProbeFailure::late, rig.now, shortest);
  CHECK(rig.facts(rig.replica).health == Health::down);
  CHECK(rig.until_due(rig.replica) == 250ms);
}

TEST_CASE("a suspect is asked at once, though not sooner than a nudge allows, and once only") {
  Rig rig;
  rig.settle();
  rig.topology.suspect(rig.replica, Suspicion::lost_connection);
  CHECK(rig.until_due(rig.replica) == 20ms);
  CHECK(rig.until_due(rig.other) == 2s);
  rig.now += 20ms;
  rig.standby(rig.replica, Lsn{5000});
  CHECK(rig.until_due(rig.replica) == 2s);
}

TEST_CASE("where no new connection can be made the next question goes over one, once") {
  Rig rig;
  rig.settle();
  rig.topology.suspect(rig.replica, Suspicion::lost_connection);
  CHECK_FALSE(rig.topology.must_reconnect(rig.replica));
  rig.topology.suspect(rig.replica, Suspicion::no_new_connection);
  rig.topology.suspect(rig.replica, Suspicion::lost_connection);
  CHECK(rig.topology.must_reconnect(rig.replica));
  CHECK_FALSE(rig.topology.must_reconnect(rig.other));
  CHECK(rig.until_due(rig.replica) == 20ms);
  rig.now += 20ms;
  rig.standby(rig.replica, Lsn{5000});
  CHECK_FALSE(rig.topology.must_reconnect(rig.replica));
}

TEST_CASE("a suspicion that arises while the node is asked is looked into afterwards") {
  Rig rig;
  rig.settle();
  rig.topology.asked(rig.replica, rig.now);
  rig.topology.suspect(rig.replica, Suspicion::lost_connection);
  rig.topology.answered(rig.replica, rig.told(true, Lsn{5000}), rig.now);
  CHECK(rig.until_due(rig.replica) == 20ms);
}

TEST_CASE("a broken connection makes a node suspect and nothing else") {
  Rig rig;
  rig.settle();
  rig.topology.failed(rig.replica, ProbeFailure::lost, rig.now, shortest);
  CHECK(rig.facts(rig.replica).health == Health::up);
  CHECK(rig.judge(rig.replica) == Verdict::eligible);
  CHECK(rig.until_due(rig.replica) == 20ms);
}

TEST_CASE("a full server stays up and is asked again after the pause") {
  Rig rig;
  rig.settle();
  rig.topology.demand(rig.now);
  rig.topology.asked(rig.replica, rig.now);
  rig.topology.failed(rig.replica, ProbeFailure::too_many_connections, rig.now, 1024 + 512);
  CHECK(rig.facts(rig.replica).health == Health::up);
  CHECK(rig.until_due(rig.replica) == 375ms);
}

TEST_CASE("a nudge has replicas asked sooner until they are proven, for a second") {
  Rig rig;
  rig.settle();
  rig.now += 100ms;
  rig.topology.nudge({Lsn{6000}, 1, rig.now});
  // The last question was long enough ago, but a commit takes a moment to travel.
  CHECK(rig.until_due(rig.replica) == 2ms);
  CHECK(rig.until_due(rig.primary) == 1900ms);  // the position is known, so the primary has nothing to tell
  rig.now += 2ms;
  rig.standby(rig.replica, Lsn{5900});
  CHECK(rig.until_due(rig.replica) == 20ms);
  rig.now += 20ms;
  rig.standby(rig.replica, Lsn{6000});
  CHECK(rig.until_due(rig.replica) == 2s);
  CHECK(rig.until_due(rig.other) == -20ms);
  rig.now += 977ms;
  CHECK(rig.until_due(rig.other) == -997ms);
  rig.now += 1ms;
  CHECK(rig.until_due(rig.other) == 900ms);
}

TEST_CASE("a nudged node is never asked oftener than the nudge interval") {
  Rig rig;
  rig.settle();
  TimePoint asked_last = rig.now;
  int asked = 0;
  for (auto const end = rig.now + 2s; rig.now < end; rig.now += 1ms) {
    rig.topology.demand(rig.now);
    rig.topology.demand_proof(rig.now);
    if (rig.now.time_since_epoch() % 10ms == 0s) {
      rig.topology.nudge({Lsn{9000}, 1, rig.now});  // the replica never catches up
    }
    if (rig.topology.due(rig.replica, rig.now) <= rig.now) {
      REQUIRE(rig.now - asked_last >= 20ms);
      asked_last = rig.now;
      ++asked;
      rig.standby(rig.replica, Lsn{5000});
    }
  }
  CHECK(asked >= 60);
  CHECK(asked <= 100);
}

TEST_CASE("a nudged node is asked in spite of a storm of commits") {
  Rig rig;
  rig.settle();
  int asked = 0;
  for (auto const end = rig.now + 2s; rig.now < end; rig.now += 1ms) {
    rig.topology.demand(rig.now);
    rig.topology.nudge({Lsn{9000}, 1, rig.now});
    if (rig.topology.due(rig.replica, rig.now) <= rig.now) {
      ++asked;
      rig.standby(rig.replica, Lsn{5000});
    }
  }
  CHECK(asked >= 8);  // the base interval at least
}

TEST_CASE("a storm of commits that nobody reads has nodes asked less and less often, until somebody does") {
  Rig rig;
  rig.settle();
  std::vector<Duration> pauses;
  auto asked_last = rig.now;
  auto const storm = [&](Duration span) {
    for (auto const end = rig.now + span; rig.now < end; rig.now += 1ms) {
      rig.topology.demand(rig.now);
      rig.topology.nudge({Lsn{9000}, 1, rig.now});
      if (rig.topology.due(rig.replica, rig.now) <= rig.now) {
        pauses.push_back(rig.now - asked_last);
        asked_last = rig.now;
        rig.standby(rig.replica, Lsn{5000});
      }
    }
  };
  storm(1200ms);
  CHECK(pauses == std::vector<Duration>{20ms, 20ms, 40ms, 80ms, 160ms, 250ms, 250ms, 250ms});
  rig.topology.demand_proof(rig.now);
  pauses.clear();
  storm(200ms);
  CHECK(pauses.size() >= 8);
  CHECK(std::all_of(pauses.begin() + 1, pauses.end(), [](Duration pause) { return pause == 20ms; }));

  // Two seconds later that demand is forgotten. After a quiet time the next commit is followed at once.
  storm(2500ms);
  CHECK(pauses.back() == 250ms);
  for (int i = 0; i < 2; ++i) {
    rig.now += 250ms;
    rig.standby(rig.replica, Lsn{9000});
  }
  rig.now += 100ms;
  rig.topology.nudge({Lsn{9500}, 1, rig.now});
  CHECK(rig.until_due(rig.replica) == 2ms);
}

TEST_CASE("a commit without a position has the primary sampled first, and then the replicas proven by the moment") {
  Rig rig;
  rig.settle();
  rig.now += 100ms;
  rig.topology.nudge({{}, 0, rig.now});
  CHECK(rig.until_due(rig.primary) == 2ms);
  CHECK(rig.until_due(rig.replica) == 2ms);
  rig.now += 2ms;
  rig.writable(rig.primary, Lsn{6000});
  CHECK(rig.until_due(rig.primary) == 2s);
  CHECK(rig.until_due(rig.replica) == -2ms + 2ms);
  rig.standby(rig.replica, Lsn{6000});
  CHECK(rig.until_due(rig.replica) == 2s);
}

TEST_CASE("a nudge that was met long ago takes nothing from the next one") {
  Rig rig;
  rig.settle();
  rig.topology.nudge({{}, 0, rig.now});
  rig.now += 10s;
  rig.settle(Lsn{6000});
  rig.now += 10s;
  rig.topology.nudge({Lsn{6500}, 1, rig.now});
  rig.now += 2ms;
  rig.standby(rig.replica, Lsn{7000});
  CHECK(rig.judge(rig.replica, must_see(Lsn{6500}, 1, rig.now)) == Verdict::eligible);
  CHECK(rig.until_due(rig.replica) == 2s);  // proven, so there is nothing more to ask
}

TEST_CASE("a nudge does not trouble nodes whose next answer cannot prove anything") {
  Rig rig;
  rig.settle();
  rig.answer(rig.other, true, Lsn{5000}, 1, theirs);
  rig.now += 100ms;
  rig.topology.nudge({Lsn{6000}, 1, rig.now});
  CHECK(rig.until_due(rig.other) == 1900ms);
}

TEST_CASE("an answer tells the node's role, position and latency") {
  Rig rig;
  rig.settle();
  CHECK(rig.cluster().primary == rig.primary);
  CHECK(rig.cluster().system_identifier == ours);
  CHECK(rig.cluster().timeline == 1);
  CHECK(rig.cluster().position == Lsn{5000});
  CHECK(rig.cluster().position_at == rig.now);
  CHECK(rig.facts(rig.primary).role == Role::primary);
  CHECK(rig.facts(rig.primary).lag == 0s);
  CHECK(rig.facts(rig.primary).as_of == rig.now);
  auto const facts = rig.facts(rig.replica);
  CHECK(facts.health == Health::up);
  CHECK(facts.role == Role::replica);
  CHECK(facts.position == Lsn{5000});
  CHECK(facts.timeline == 1);
  CHECK(facts.lineage == Lineage::same);
  CHECK(facts.probed_at == rig.now);
  CHECK(facts.latency == 1ms);
  CHECK(facts.returned_at == rr::never);
  CHECK(rig.topology.system_identifier(rig.replica) == ours);
}

TEST_CASE("latency is a moving average, and a round trip that was not measured leaves it alone") {
  Rig rig;
  rig.settle();
  auto const answer = [&](Duration round_trip) {
    auto told = rig.told(true, Lsn{5000});
    told.round_trip = round_trip;
    rig.topology.asked(rig.replica, rig.now);
    rig.topology.answered(rig.replica, told, rig.now);
    return rig.facts(rig.replica).latency;
  };
  CHECK(answer(9ms) == 2ms);
  CHECK(answer(0ms) == 2ms);
  CHECK(answer(1200us) == 1900us);
}

TEST_CASE("every sample of the primary places all replicas anew") {
  Rig rig;
  rig.settle(Lsn{5000});
  auto const first = rig.now;
  rig.now += 1s;
  rig.writable(rig.primary, Lsn{6000});
  // Nobody has asked the replicas since, and yet it is known by now that they lag.
  CHECK(rig.facts(rig.replica).lag == 1s);
  CHECK(rig.facts(rig.replica).as_of == first);
  rig.standby(rig.replica, Lsn{6000});
  CHECK(rig.facts(rig.replica).lag == 0s);
  CHECK(rig.facts(rig.replica).as_of == rig.now);
  CHECK(rig.facts(rig.other).as_of == first);
  rig.now += 1s;
  rig.writable(rig.primary, Lsn{6000});
  CHECK(rig.facts(rig.replica).as_of == rig.now);
  CHECK(rig.facts(rig.other).lag == 2s);
}

TEST_CASE("while the primary is unreachable lag stands still and the staleness bound keeps growing") {
  Rig rig;
  rig.settle(Lsn{5000});
  rig.now += 1s;
  rig.writable(rig.primary, Lsn{6000});
  auto const last_sample = rig.now;
  rig.standby(rig.other, Lsn{6000});
  rig.refuse(rig.primary);
  CHECK(rig.cluster().primary == rr::no_node);
  for (int i = 0; i < 100; ++i) {
    rig.now += 1min;
    rig.standby(rig.replica, Lsn{5000});
    rig.standby(rig.other, Lsn{6000});
    REQUIRE(rig.facts(rig.replica).lag == 1s);
    REQUIRE(rig.facts(rig.other).lag == 0s);
    REQUIRE(rig.facts(rig.other).as_of == last_sample);
    REQUIRE(rig.judge(rig.other) == Verdict::eligible);
    REQUIRE(rig.judge(rig.other, {{}, rig.now - 30s}) == Verdict::too_stale);
  }
  CHECK(rig.cluster().position == Lsn{6000});
  CHECK(rig.cluster().position_at == last_sample);
}

TEST_CASE("a primary that comes back on its timeline goes on with the same clock") {
  Rig rig;
  rig.settle(Lsn{5000});
  auto const before = rig.now;
  rig.refuse(rig.primary);
  rig.now += 10s;
  rig.writable(rig.primary, Lsn{6000});
  CHECK(rig.facts(rig.replica).as_of == before);
  CHECK(rig.facts(rig.replica).lag == 10s);
  CHECK(rig.facts(rig.primary).epoch == rig.facts(rig.replica).epoch);
}

TEST_CASE("replicas serve what demands nothing before any primary was heard of") {
  Rig rig;
  rig.standby(rig.replica, Lsn{5000});
  CHECK(rig.judge(rig.replica) == Verdict::eligible);
  CHECK(rig.judge(rig.replica, {{}, rig.now - 1h}) == Verdict::too_stale);
  CHECK(rig.cluster().primary == rr::no_node);
}

TEST_CASE("max_lag holds although the primary does not tell its timeline") {
  Rig rig;
  rig.writable(rig.primary, Lsn{5000}, 0);
  rig.standby(rig.replica, Lsn{5000}, 0);
  rig.now += 1min;
  rig.writable(rig.primary, Lsn{6000}, 0);
  CHECK(rig.facts(rig.replica).lag == 1min);
  CHECK(rig.judge(rig.replica) == Verdict::behind_max_lag);
}

TEST_CASE("a position that the server refuses to tell proves nothing") {
  Rig rig;
  rig.settle();
  rig.standby(rig.replica, Lsn{});
  CHECK(rig.facts(rig.replica).lag == Duration::max());
  CHECK(rig.facts(rig.replica).as_of == rr::never);
  CHECK(rig.judge(rig.replica) == Verdict::behind_max_lag);
  rig.now += 1s;
  rig.writable(rig.primary, Lsn{});
  CHECK(rig.cluster().position == Lsn{5000});
  CHECK(rig.cluster().position_at == rig.now - 1s);
}

TEST_CASE("a timeline that is not known, or another, proves nothing by position") {
  Rig rig;
  rig.settle();
  CHECK(rig.facts(rig.replica).lineage == Lineage::same);
  rig.standby(rig.replica, Lsn{5000}, 0);
  CHECK(rig.facts(rig.replica).lineage == Lineage::unknown);
  CHECK(rig.facts(rig.replica).as_of == rr::never);
  rig.standby(rig.replica, Lsn{5000}, 2);
  CHECK(rig.facts(rig.replica).lineage == Lineage::other);
  CHECK(rig.facts(rig.replica).as_of == rr::never);
  CHECK(rig.facts(rig.replica).lag == Duration::max());
  CHECK(rig.judge(rig.replica) == Verdict::behind_max_lag);
}

TEST_CASE("a replica whose timeline is only its last checkpoint's may follow the primary by now") {
  Rig rig;
  rig.settle();
  rig.writable(rig.primary, Lsn{5000}, 2);
  auto told = rig.told(true, Lsn{5000}, 1);
  told.is_timeline_certain = false;
  rig.topology.asked(rig.replica, rig.now);
  rig.topology.answered(rig.replica, told, rig.now);
  CHECK(rig.facts(rig.replica).lineage == Lineage::unknown);
  CHECK(rig.facts(rig.replica).as_of == rr::never);
  CHECK(rig.judge(rig.replica) == Verdict::eligible);
  CHECK(rig.judge(rig.replica, {{}, rig.now - 1h}) == Verdict::too_stale);
}

TEST_CASE("an epoch grows at each change of role or timeline, and only then") {
  Rig rig;
  rig.settle();
  auto const epoch = rig.facts(rig.replica).epoch;
  rig.settle(Lsn{6000});
  rig.refuse(rig.replica);
  rig.now += 1s;
  rig.standby(rig.replica, Lsn{6000});
  CHECK(rig.facts(rig.replica).epoch == epoch);
  rig.standby(rig.replica, Lsn{6000}, 2);
  CHECK(rig.facts(rig.replica).epoch == epoch + 1);
  rig.standby(rig.replica, Lsn{6000}, 2);
  CHECK(rig.facts(rig.replica).epoch == epoch + 1);
  rig.writable(rig.replica, Lsn{6000}, 2);
  CHECK(rig.facts(rig.replica).epoch == epoch + 2);
}

TEST_CASE("the first answer of all bumps no epoch: there is no older connection") {
  Rig rig;
  auto const epoch = rig.facts(rig.replica).epoch;
  rig.standby(rig.replica, Lsn{5000});
  CHECK(rig.facts(rig.replica).epoch == epoch);
}

TEST_CASE("a promotion fences the old primary and bumps both epochs") {
  Rig rig;
  rig.settle();
  auto const old_epoch = rig.facts(rig.primary).epoch;
  auto const new_epoch = rig.facts(rig.replica).epoch;
  rig.writable(rig.replica, Lsn{5100}, 2);
  CHECK(rig.cluster().primary == rig.replica);
  CHECK(rig.facts(rig.replica).role == Role::primary);
  CHECK(rig.facts(rig.replica).epoch == new_epoch + 1);
  CHECK(rig.facts(rig.primary).role == Role::fenced);
  CHECK(rig.facts(rig.primary).epoch == old_epoch + 1);
  CHECK(rig.judge(rig.primary) == Verdict::fenced);
  rig.refuse(rig.replica);
  rig.writable(rig.primary, Lsn{9000}, 1);
  CHECK(rig.cluster().primary == rr::no_node);
  CHECK(rig.facts(rig.primary).role == Role::fenced);
}

TEST_CASE("the fence outlives a moment in which no node answers at all") {
  Rig rig;
  rig.writable(rig.replica, Lsn{5100}, 2);  // promoted before this process began; the expected primary is away
  CHECK(rig.cluster().primary == rig.replica);
  rig.refuse(rig.replica);
  CHECK(rig.cluster().system_identifier == ours);
  rig.writable(rig.primary, Lsn{5000}, 1);
  CHECK(rig.facts(rig.primary).role == Role::fenced);
  CHECK(rig.cluster().primary == rr::no_node);
}

TEST_CASE("two writable nodes that cannot be told apart leave no primary until one is gone") {
  Rig rig;
  rig.settle();
  rig.writable(rig.replica, Lsn{5100}, 1);
  CHECK(rig.cluster().is_split);
  CHECK(rig.cluster().primary == rr::no_node);
  CHECK(rig.judge(rig.primary) == Verdict::fenced);
  CHECK(rig.judge(rig.replica) == Verdict::fenced);
  CHECK(rig.judge(rig.other) == Verdict::eligible);
  rig.refuse(rig.primary);
  CHECK_FALSE(rig.cluster().is_split);
  CHECK(rig.cluster().primary == rig.replica);
}

TEST_CASE("a primary that fell silent may still take writes: no other node of its timeline is believed") {
  Rig rig;
  rig.settle();
  auto const fall_silent = [&] {
    rig.topology.asked(rig.primary, rig.now);
    for (int i = 0; i < 3; ++i) {
      rig.topology.failed(rig.primary, ProbeFailure::late, rig.now, shortest);
    }
  };
  fall_silent();
  REQUIRE(rig.facts(rig.primary).health == Health::down);
  CHECK(rig.cluster().primary == rr::no_node);
  CHECK_FALSE(rig.cluster().is_split);
  SECTION("another of its timeline is refused until nothing listens at the old one's") {
    rig.writable(rig.replica, Lsn{6000});
    CHECK(rig.cluster().is_split);
    CHECK(rig.cluster().primary == rr::no_node);
    rig.refuse(rig.primary);
    CHECK_FALSE(rig.cluster().is_split);
    CHECK(rig.cluster().primary == rig.replica);
  }
  SECTION("it may be starting or let nobody in for another reason") {
    rig.topology.asked(rig.primary, rig.now);
    rig.topology.failed(rig.primary, ProbeFailure::rejected, rig.now, shortest);
    rig.writable(rig.replica, Lsn{6000});
    CHECK(rig.cluster().is_split);
  }
  SECTION("a promoted one takes over") {
    rig.writable(rig.replica, Lsn{6000}, 2);
    CHECK_FALSE(rig.cluster().is_split);
    CHECK(rig.cluster().primary == rig.replica);
  }
  SECTION("it comes back") {
    rig.writable(rig.primary, Lsn{6000});
    CHECK(rig.cluster().primary == rig.primary);
    fall_silent();
    rig.standby(rig.primary, Lsn{6000});
    rig.writable(rig.replica, Lsn{6000});
    CHECK(rig.cluster().primary == rig.replica);
  }
}

TEST_CASE("the clock begins anew with a timeline, and older tokens are met by time") {
  Rig rig;
  rig.settle(Lsn{8'000});
  auto const commit = must_see(Lsn{9'000}, 1, rig.now);  // lost in the failover: no node will ever have it
  rig.now += 1s;
  rig.standby(rig.other, Lsn{8'500});
  rig.refuse(rig.primary);
  rig.writable(rig.replica, Lsn{8'500}, 2);
  CHECK(rig.cluster().timeline == 2);
  CHECK(rig.cluster().position == Lsn{8'500});
  CHECK(rig.facts(rig.other).lineage == Lineage::other);
  CHECK(rig.judge(rig.other, commit) == Verdict::behind_max_lag);  // on another timeline nothing tells its lag
  rig.now += 1s;
  rig.standby(rig.other, Lsn{8'400}, 2);
  CHECK(rig.facts(rig.other).as_of == rr::never);  // nothing on the new timeline proves anything yet
  CHECK(rig.judge(rig.other, commit) == Verdict::behind_max_lag);
  rig.standby(rig.other, Lsn{8'500}, 2);
  CHECK(rig.facts(rig.other).as_of == rig.now - 1s);
  CHECK(rig.judge(rig.other, commit) == Verdict::eligible);
  CHECK(rig.judge(rig.other, must_see(Lsn{8'500}, 1, rig.now)) == Verdict::position_not_reached);
}

TEST_CASE("an old primary that returns as a standby serves reads again") {
  Rig rig;
  rig.settle();
  rig.refuse(rig.primary);
  rig.writable(rig.replica, Lsn{5100}, 2);
  rig.now += 1s;
  rig.standby(rig.primary, Lsn{5100}, 2);
  CHECK(rig.facts(rig.primary).role == Role::replica);
  CHECK(rig.judge(rig.primary) == Verdict::eligible);
  CHECK(rig.facts(rig.primary).returned_at == rig.now);
}

TEST_CASE("a node that is down is judged down whatever it was") {
  Rig rig;
  rig.settle();
  rig.refuse(rig.replica);
  CHECK(rig.judge(rig.replica) == Verdict::down);
  rig.refuse(rig.primary);
  CHECK(rig.judge(rig.primary) == Verdict::down);
}

TEST_CASE("a node of another cluster is quarantined, and its timeline fences nobody") {
  Rig rig;
  rig.settle();
  rig.answer(rig.other, false, Lsn{99'000}, 7, theirs);
  CHECK(rig.facts(rig.other).role == Role::foreign);
  CHECK(rig.judge(rig.other) == Verdict::foreign);
  CHECK(rig.cluster().primary == rig.primary);
  CHECK(rig.cluster().position == Lsn{5000});
  CHECK(rig.topology.system_identifier(rig.other) == theirs);
}

TEST_CASE("a foreign node that was heard of first does not fence the expected primary") {
  Rig rig;
  rig.answer(rig.replica, false, Lsn{99'000}, 7, theirs);
  rig.writable(rig.primary, Lsn{5000}, 1);
  CHECK(rig.facts(rig.replica).role == Role::foreign);
  CHECK(rig.facts(rig.primary).role == Role::primary);
  CHECK(rig.cluster().primary == rig.primary);
}

TEST_CASE("a foreign node does not become the primary because it alone is left") {
  Rig rig;
  rig.writable(rig.replica, Lsn{5100}, 2);  // the expected primary was never heard of
  rig.answer(rig.other, false, Lsn{99'000}, 7, theirs);
  CHECK(rig.facts(rig.other).role == Role::foreign);
  rig.refuse(rig.replica);
  rig.answer(rig.other, false, Lsn{99'000}, 7, theirs);
  CHECK(rig.facts(rig.other).role == Role::foreign);
  CHECK(rig.cluster().primary == rr::no_node);
  rig.writable(rig.primary, Lsn{5000}, 1);
  CHECK(rig.facts(rig.primary).role == Role::fenced);
}

TEST_CASE("what was seen outside the probes only moves a replica forward, and tells whether it was news") {
  Rig rig;
  rig.settle(Lsn{5000});
  rig.now += 1s;
  rig.writable(rig.primary, Lsn{6000});
  auto const epoch = rig.facts(rig.replica).epoch;
  CHECK(rig.topology.replayed(rig.replica, epoch, Lsn{6000}, rig.now));
  CHECK(rig.facts(rig.replica).position == Lsn{6000});
  CHECK(rig.facts(rig.replica).as_of == rig.now);
  CHECK(rig.facts(rig.replica).probed_at == rig.now);
  CHECK_FALSE(rig.topology.replayed(rig.replica, epoch, Lsn{6000}, rig.now + 1s));
  CHECK_FALSE(rig.topology.replayed(rig.replica, epoch, Lsn{5500}, rig.now + 1s));
  CHECK_FALSE(rig.topology.replayed(rig.replica, epoch, Lsn{}, rig.now + 1s));
  CHECK(rig.facts(rig.replica).position == Lsn{6000});
  CHECK(rig.topology.replayed(rig.replica, epoch, Lsn{6100}, rig.now - 1min));
  CHECK(rig.facts(rig.replica).probed_at == rig.now);
  CHECK_FALSE(rig.topology.replayed(rig.primary, rig.facts(rig.primary).epoch, Lsn{9000}, rig.now));
  CHECK(rig.facts(rig.primary).position == Lsn{6000});
  CHECK(rig.cluster().position == Lsn{6000});
}

TEST_CASE("what was seen of a node as it was before proves nothing of it now") {
  Rig rig;
  rig.settle(Lsn{5000});
  rig.writable(rig.primary, Lsn{6000});
  auto const epoch = rig.facts(rig.replica).epoch;
  rig.topology.remove(rig.replica);
  REQUIRE(rig.topology.add(RoleHint::replica) == rig.replica);
  rig.standby(rig.replica, Lsn{5500});
  CHECK_FALSE(rig.topology.replayed(rig.replica, epoch, Lsn{6000}, rig.now));
  CHECK(rig.facts(rig.replica).position == Lsn{5500});
}

TEST_CASE("a node that was let go is asked no more, and its number is taken up again") {
  Rig rig;
  rig.settle();
  auto const epoch = rig.facts(rig.replica).epoch;
  rig.topology.remove(rig.replica);
  CHECK_FALSE(rig.topology.is_member(rig.replica));
  CHECK(rig.topology.due(rig.replica, rig.now) == TimePoint::max());
  CHECK(rig.topology.size() == 3);
  CHECK(rig.topology.add(RoleHint::replica) == rig.replica);
  CHECK(rig.topology.size() == 3);
  CHECK(rig.topology.is_member(rig.replica));
  CHECK(rig.topology.due(rig.replica, rig.now) == rig.now);
  // Nothing of the old node is believed of the new one, and no connection of the old one fits it.
  CHECK(rig.judge(rig.replica) == Verdict::unheard_of);
  CHECK(rig.facts(rig.replica).position == Lsn{});
  CHECK(rig.facts(rig.replica).epoch > epoch);
  CHECK(rig.topology.system_identifier(rig.replica) == 0);
  CHECK(rig.topology.add(RoleHint::replica) == 3);
  CHECK_FALSE(rig.topology.is_member(17));
}

TEST_CASE("a primary that was let go is the primary no more") {
  Rig rig;
  rig.settle();
  rig.topology.remove(rig.primary);
  CHECK(rig.cluster().primary == rr::no_node);
  CHECK(rig.judge(rig.replica) == Verdict::eligible);
  rig.writable(rig.replica, Lsn{6000}, 2);
  CHECK(rig.cluster().primary == rig.replica);
}

TEST_CASE("a writable node that was let go splits nothing any more") {
  Rig rig;
  rig.settle();
  rig.writable(rig.replica, Lsn{5100}, 1);
  CHECK(rig.cluster().is_split);
  rig.topology.remove(rig.replica);
  CHECK_FALSE(rig.cluster().is_split);
  CHECK(rig.cluster().primary == rig.primary);
}

TEST_CASE("an answer that the number's former node owed is not the new node's") {
  Rig rig;
  rig.settle();
  rig.topology.asked(rig.replica, rig.now);
  rig.topology.remove(rig.replica);
  REQUIRE(rig.topology.add(RoleHint::replica) == rig.replica);
  rig.topology.answered(rig.replica, rig.told(true, Lsn{5000}), rig.now);
  CHECK(rig.judge(rig.replica) == Verdict::unheard_of);
  rig.topology.failed(rig.replica, ProbeFailure::refused, rig.now, shortest);
  CHECK(rig.judge(rig.replica) == Verdict::unheard_of);
  CHECK(rig.topology.due(rig.replica, rig.now) == rig.now);
}

TEST_CASE("at random histories the bounds are true, the primary is one and no epoch goes back") {
  std::mt19937_64 random{11};
  std::uint64_t proven = 0;
  for (int history = 0; history < 400; ++history) {
    Rig rig;
    // What the primary really had when: positions only grow, on one timeline.
    std::vector<std::pair<TimePoint, Lsn>> truth;
    std::uint64_t position = 10'000;
    std::vector<std::uint64_t> replayed{0, 10'000, 10'000};
    std::vector<std::uint32_t> epochs(3);
    for (int step = 0; step < 60; ++step) {
      rig.now += 1ms + Duration{1ms} * static_cast<std::int64_t>(random() % 500);
      position += random() % 3 == 0 ? 0 : random() % 5000;
      truth.emplace_back(rig.now, Lsn{position});
      auto const id = static_cast<NodeId>(random() % 3);
      if (random() % 8 == 0) {
        rig.refuse(id);
      } else if (id == rig.primary) {
        rig.writable(id, Lsn{position});
      } else {
        replayed[id] += random() % (position - replayed[id] + 1);
        if (random() % 4 == 0) {
          rig.topology.replayed(id, rig.facts(id).epoch, Lsn{replayed[id]}, rig.now);
        } else {
          rig.standby(id, Lsn{replayed[id]});
        }
      }
      for (NodeId each = 0; each < 3; ++each) {
        auto const& facts = rig.facts(each);
        REQUIRE(facts.epoch >= epochs[each]);
        epochs[each] = facts.epoch;
        REQUIRE((facts.role == Role::primary) == (each == rig.primary && facts.role != Role::unknown));
        if (facts.role != Role::replica || facts.as_of == rr::never) {
          continue;
        }
        ++proven;
        // At that moment the primary had nothing that the replica lacks.
        for (auto const& [moment, lsn] : truth) {
          if (moment <= facts.as_of && lsn.before_page_header() > Lsn{replayed[each]}) {
            FAIL("history " << history << ", step " << step << ": node " << each << " is at " << replayed[each]
                            << " but the primary was at " << lsn.bytes());
          }
        }
      }
    }
  }
  CHECK(proven > 10'000);
}
