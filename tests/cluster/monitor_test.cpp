#include "replica_router/cluster/monitor.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "cluster/scripted_backend.hpp"

namespace rr = replica_router;
using rr::Health;
using rr::Lsn;
using rr::NodeId;
using rr::ProbeFailure;
using rr::Purpose;
using rr::Role;
using rr::Suspicion;
using rr::TimePoint;
using rr::testing::Script;
using rr::testing::ScriptedBackend;
using rr::testing::ScriptedConnection;
using namespace std::chrono_literals;

namespace {

/// A monitor over a primary and two replicas.
struct Rig {
  Script script;
  ScriptedBackend backend{script};
  rr::Cluster<ScriptedBackend> cluster{rr::testing::options_for(2), backend};
  rr::Monitor<ScriptedBackend> monitor{cluster, backend};

  void step(TimePoint until = TimePoint::max()) { monitor.step(until); }
  void advance(rr::Duration duration) { script.now += duration; }
  /// Writes down an answer for the next wait.
  void answers(NodeId id, Lsn position, std::uint32_t timeline = 1) {
    script.events.push_back({id, {}, {}, rr::testing::told(id != 0, position, script.now, timeline)});
  }
  void fails(NodeId id, ProbeFailure failure, std::string const& reason) {
    script.events.push_back({id, failure, reason, {}});
  }
  /// All nodes asked for the first time, and up.
  void settle() {
    for (NodeId id = 0; id < 3; ++id) {
      answers(id, Lsn{5000});
    }
    step();
  }
  /// What was asked in the last step.
  std::vector<NodeId> asked() {
    std::vector<NodeId> out;
    for (auto const& question : script.questions) {
      out.push_back(question.node);
    }
    script.questions.clear();
    return out;
  }
  rr::NodeFacts facts(NodeId id) const { return node(id).facts.read(); }
  rr::Node<ScriptedBackend>& node(NodeId id) const { return *cluster.nodes()[id]; }
  rr::Pool<ScriptedBackend>::Slot& lease(NodeId id) {
    return node(id).pool.acquire(Purpose::write, facts(id).epoch, script.now, script.now + 1s,
                                 [&](TimePoint) { return std::make_unique<ScriptedConnection>(script); });
  }
  void give_back(NodeId id, rr::Pool<ScriptedBackend>::Slot& slot) {
    node(id).pool.give_back(slot, true, facts(id).epoch);
  }
};

}  // namespace

TEST_CASE("the first step asks every node, with the time allowed") {
  Rig rig;
  rig.step();
  REQUIRE(rig.script.questions.size() == 3);
  for (NodeId id = 0; id < 3; ++id) {
    auto const& question = rig.script.questions[id];
    CHECK(question.node == id);
    CHECK(question.asked_at == rig.script.now);
    CHECK(question.late_at == rig.script.now + 500ms);
    CHECK(question.late_every == 250ms);
  }
  CHECK(rig.script.questions[1].address == "host=replica-1");
}

TEST_CASE("while a question is under way it is not put again") {
  Rig rig;
  rig.step();
  rig.asked();
  rig.advance(1h);
  rig.step();
  CHECK(rig.asked().empty());
}

TEST_CASE("the loop sleeps until somebody is due, at most a second, and no longer than it is told to") {
  Rig rig;
  rig.settle();
  rig.step();
  CHECK(rig.script.waits.back() == rig.script.now + 1s);  // the idle interval is two
  rig.cluster.demand(rig.script.now);
  rig.step();
  CHECK(rig.script.waits.back() == rig.script.now + 250ms);
  rig.step(rig.script.now + 100ms);
  CHECK(rig.script.waits.back() == rig.script.now + 100ms);
  rig.asked();
  rig.advance(250ms);
  rig.step();
  CHECK(rig.asked() == std::vector<NodeId>{0, 1, 2});
}

TEST_CASE("answers are published, wake who waits for evidence, and clear the reason") {
  Rig rig;
  auto const before = rig.cluster.changes();
  rig.fails(1, ProbeFailure::late, "does not answer");
  rig.step();
  CHECK(rig.cluster.changes() > before);
  CHECK(rig.cluster.reason(1) == "does not answer");
  CHECK(rig.facts(1).health == Health::unknown);
  auto const later = rig.cluster.changes();
  rig.answers(0, Lsn{5000});
  rig.answers(1, Lsn{5000});
  rig.step();
  CHECK(rig.cluster.changes() > later);
  CHECK(rig.cluster.reason(1).empty());
  CHECK(rig.facts(0).role == Role::primary);
  CHECK(rig.facts(1).role == Role::replica);
  CHECK(rig.cluster.facts().primary == 0);
  CHECK(rig.cluster.primary() == &rig.node(0));
}

TEST_CASE("a wait in which nothing happened is no evidence") {
  Rig rig;
  rig.settle();
  auto const before = rig.cluster.changes();
  rig.step();
  CHECK(rig.cluster.changes() == before);
}

TEST_CASE("a node that goes down is forgotten, counted once, and its leases are aborted") {
  Rig rig;
  rig.settle();
  auto& held = rig.lease(1);
  auto& elsewhere = rig.lease(2);
  rig.give_back(1, rig.lease(1));
  CHECK(rig.script.open == 3);
  rig.advance(2s);
  rig.fails(1, ProbeFailure::refused, "connection refused");
  rig.step();
  CHECK(rig.facts(1).health == Health::down);
  CHECK(rig.cluster.reason(1) == "connection refused");
  CHECK(rig.script.forgotten == std::vector<NodeId>{1});
  CHECK(rig.node(1).counters.ejections == 1);
  CHECK(held.connection->is_aborted());
  CHECK_FALSE(elsewhere.connection->is_aborted());
  CHECK(rig.script.open == 2);  // the idle one is closed
  rig.advance(10s);
  rig.fails(1, ProbeFailure::refused, "connection refused");
  rig.step();
  CHECK(rig.node(1).counters.ejections == 1);
  rig.give_back(1, held);
  rig.give_back(2, elsewhere);
}

TEST_CASE("a node that does not answer is ejected after the third time") {
  Rig rig;
  rig.settle();
  rig.advance(2s);
  for (int missed = 1; missed <= 3; ++missed) {
    CHECK(rig.facts(1).health == Health::up);
    rig.fails(1, ProbeFailure::late, "does not answer");
    rig.step();
  }
  CHECK(rig.facts(1).health == Health::down);
  CHECK(rig.node(1).counters.ejections == 1);
}

TEST_CASE("a node that never was up is not counted as ejected") {
  Rig rig;
  rig.fails(1, ProbeFailure::refused, "connection refused");
  rig.step();
  CHECK(rig.facts(1).health == Health::down);
  CHECK(rig.node(1).counters.ejections == 0);
}

TEST_CASE("a full server and a lost probe eject nobody") {
  Rig rig;
  rig.settle();
  rig.advance(2s);
  rig.fails(1, ProbeFailure::too_many_connections, "sorry, too many clients already");
  rig.fails(2, ProbeFailure::lost, "server closed the connection unexpectedly");
  rig.step();
  CHECK(rig.facts(1).health == Health::up);
  CHECK(rig.facts(2).health == Health::up);
  CHECK(rig.script.forgotten.empty());
  CHECK(rig.cluster.reason(1) == "sorry, too many clients already");
}

TEST_CASE("a node's probe is dropped once the node was removed, although nothing is heard of it") {
  Rig rig;
  rig.settle();
  rig.cluster.remove("replica-1");
  rig.step();
  CHECK(std::count(rig.script.forgotten.begin(), rig.script.forgotten.end(), NodeId{1}) > 0);
}

TEST_CASE("a node to which no new connection can be made is asked over a new one") {
  Rig rig;
  rig.settle();
  rig.asked();
  rig.script.forgotten.clear();
  rig.cluster.suspect(1, Suspicion::no_new_connection);
  rig.advance(20ms);
  rig.step();
  CHECK(rig.script.forgotten == std::vector<NodeId>{1});
  CHECK(rig.asked() == std::vector<NodeId>{1});
}

TEST_CASE("what is heard of a removed node is ignored") {
  Rig rig;
  rig.settle();
  rig.advance(2s);
  rig.step();
  rig.cluster.remove("replica-1");
  for (NodeId id = 0; id < 3; ++id) {
    rig.answers(id, Lsn{9000});
  }
  rig.step();
  CHECK(std::count(rig.script.forgotten.begin(), rig.script.forgotten.end(), NodeId{1}) > 0);
  rig.asked();
  rig.advance(1h);
  rig.step();
  CHECK(rig.asked() == std::vector<NodeId>{0, 2});
}

TEST_CASE("what is heard of a removed node is not taken for the one that has its number now") {
  Rig rig;
  rig.settle();
  rig.advance(2s);
  rig.step();  // replica-1 is asked
  rig.cluster.remove("replica-1");
  rig.cluster.add({"host=replica-9", {.name = "replica-9"}}, rr::RoleHint::replica);
  REQUIRE(rig.node(1).endpoint.name == "replica-9");
  rig.asked();
  // The old node's answer comes in before anybody has asked the new one.
  rig.cluster.schedule([&](auto& topology) { CHECK(topology.due(1, rig.script.now) == rig.script.now); });
  rig.cluster.update([&](auto& topology) {
    topology.answered(1, rr::testing::told(true, Lsn{5000}, rig.script.now), rig.script.now);
  });
  CHECK(rig.facts(1).health == Health::unknown);
  rig.step();
  REQUIRE(rig.script.questions.size() == 1);
  CHECK(rig.script.questions[0].address == "host=replica-9");
}

TEST_CASE("about once a second idle connections are looked through") {
  Rig rig;
  rig.settle();
  rig.give_back(1, rig.lease(1));
  rig.advance(1s);
  rig.step();
  CHECK(rig.script.open == 1);
  rig.advance(10min);
  rig.step();
  CHECK(rig.script.open == 0);
}

TEST_CASE("connections of an older epoch are closed although nobody leases") {
  Rig rig;
  rig.settle();
  rig.give_back(1, rig.lease(1));
  rig.advance(2s);
  rig.answers(1, Lsn{5000}, 2);
  rig.step();
  CHECK(rig.script.open == 0);
}

TEST_CASE("the first demand after a quiet time wakes the loop, the next ones do not") {
  Rig rig;
  rig.settle();
  rig.step();
  rig.advance(500ms);
  CHECK(rig.script.wakes == 0);
  rig.cluster.demand(rig.script.now);
  CHECK(rig.script.wakes == 1);
  rig.advance(100ms);
  rig.cluster.demand(rig.script.now);
  CHECK(rig.script.wakes == 1);
  CHECK(rig.cluster.demanded_at() == rig.script.now);
  rig.advance(1min);
  rig.cluster.demand(rig.script.now);
  CHECK(rig.script.wakes == 2);
  rig.script.waits.clear();
  rig.step();
  CHECK(rig.asked().size() == 6);  // the first three, and all three again
}

TEST_CASE("a nudge wakes the loop only where it sleeps for long, a suspicion always") {
  Rig rig;
  rig.settle();
  rig.step();
  rig.advance(1ms);
  rig.cluster.nudge({Lsn{6000}, 1, rig.script.now});
  CHECK(rig.script.wakes == 1);
  rig.advance(1ms);
  rig.step();
  CHECK(rig.script.waits.back() <= rig.script.now + 20ms);
  rig.advance(rig.script.waits.back() - rig.script.now - 1ms);
  rig.cluster.nudge({Lsn{6100}, 1, rig.script.now});
  CHECK(rig.script.wakes == 1);  // it is about to look anyway
  rig.cluster.suspect(1);
  CHECK(rig.script.wakes == 2);
}

TEST_CASE("a nudge that comes while the loop is about to sleep is not slept over") {
  Rig rig;
  rig.settle();
  rig.advance(20ms);
  rig.cluster.suspect(0);  // the replicas are not due for long
  rig.script.wakes = 0;
  rig.asked();
  // Another thread commits just after it was settled who is due.
  bool is_nudged = false;
  rig.script.on_ask = [&] {
    if (!is_nudged) {
      is_nudged = true;
      rig.cluster.nudge({Lsn{6000}, 1, rig.script.now});
    }
  };
  rig.step();
  CHECK(is_nudged);
  CHECK(rig.asked() == std::vector<NodeId>{0});
  CHECK(rig.script.wakes == 1);
  rig.advance(2ms);
  rig.step();
  CHECK(rig.asked() == std::vector<NodeId>{1, 2});
}

TEST_CASE("after the monitor is gone the cluster wakes nobody") {
  Script script;
  ScriptedBackend backend{script};
  rr::Cluster<ScriptedBackend> cluster{rr::testing::options_for(1), backend};
  {
    rr::Monitor<ScriptedBackend> const monitor{cluster, backend};
    cluster.suspect(1);
    CHECK(script.wakes == 1);
  }
  cluster.suspect(1);
  CHECK(script.wakes == 1);
}
