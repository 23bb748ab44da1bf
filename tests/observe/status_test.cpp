#include "replica_router/observe/status.hpp"

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>

#include "cluster/scripted_backend.hpp"
#include "replica_router/cluster/node_status.hpp"
#include "replica_router/postgres/conninfo.hpp"

namespace rr = replica_router;
using rr::Health;
using rr::Lsn;
using rr::NodeStatus;
using rr::Role;
using rr::Status;
using namespace std::chrono_literals;

namespace {

NodeStatus serving() {
  NodeStatus node;
  node.name = "replica-1";
  node.address = "127.0.0.1:5433/shop";
  node.health = Health::up;
  node.role = Role::replica;
  node.lag = 0s;
  node.staleness = 120'400us;
  node.latency = 850us;
  node.pool.open = 2;
  node.pool.max_connections = 10;
  node.reads = 17;
  return node;
}

/// The scripted backend, but with the real way of naming a node.
class AddressingBackend : public rr::testing::ScriptedBackend {
 public:
  using Address = rr::ConnInfo;
  using ScriptedBackend::ScriptedBackend;
  Address address_of(rr::Endpoint const& endpoint) const { return rr::ConnInfo::parse(endpoint.conninfo); }
};

}  // namespace

TEST_CASE("a node is one line with everything one asks first") {
  CHECK(serving().text() ==
        "replica-1 (127.0.0.1:5433/shop): up, replica, lag 0 us, stale at most 120.4 ms, answers in 850 us, "
        "2 of 10 connections, 17 reads, 0 writes");
}

TEST_CASE("what is not known is told to be unknown, and a failed probe with its reason") {
  NodeStatus node;
  node.name = "replica-1";
  node.address = "db-2:5432/shop";
  node.health = Health::down;
  node.reason = "connection refused";
  CHECK(node.text() ==
        "replica-1 (db-2:5432/shop): down, unknown, lag unknown, stale at most unknown, answers in unknown, "
        "0 of 0 connections, 0 reads, 0 writes: connection refused");
}

TEST_CASE("the cluster is one line: its policy, and its primary, that there is none, or that there are two") {
  Status status;
  status.policy = "round-robin";
  status.retries = 3;
  status.fallbacks = 4;
  std::string const begin = "policy round-robin, 3 retries, 4 reads on the primary; ";
  CHECK(status.text() == begin + "no primary known");
  status.primary = "primary";
  status.timeline = 3;
  status.position = Lsn{0x16'B374'D848};
  CHECK(status.text() == begin + "primary primary, timeline 3, at 16/B374D848");
  status.is_split = true;
  CHECK(status.text() == begin + "split: two writable nodes of the same timeline, writes are refused");
}

TEST_CASE("each node has its line below the cluster's") {
  Status status;
  auto const cluster = status.text();
  status.nodes = {serving(), serving()};
  CHECK(status.text() == cluster + "\n" + serving().text() + "\n" + serving().text());
}

TEST_CASE("a node's status gathers its facts, its pool and its counters, and nothing secret") {
  rr::testing::Script script;
  AddressingBackend const backend{script};
  auto options = rr::testing::options_for(0);
  options.replicas.push_back({"host=db-2 port=5433 dbname=shop user=app password=hunter2", {.name = "replica-1"}});
  rr::Cluster<AddressingBackend> cluster{options, backend};
  cluster.update([&](auto& topology) {
    for (rr::NodeId id = 0; id < 2; ++id) {
      topology.asked(id, script.now);
      topology.answered(id, rr::testing::told(id != 0, Lsn{5000}, script.now, 3), script.now);
    }
    cluster.set_reason(1, "a reason");
  });
  auto& node = *cluster.nodes()[1];
  node.counters.reads = 1;
  node.counters.writes = 2;
  node.counters.lost = 3;
  node.counters.refused = 4;
  node.counters.conflicts = 5;
  node.counters.ejections = 6;
  auto const status = rr::status_of(cluster, node, script.now + 2s);
  CHECK(status.name == "replica-1");
  CHECK(status.address == "db-2:5433/shop");
  CHECK(status.health == Health::up);
  CHECK(status.role == Role::replica);
  CHECK(status.timeline == 3);
  CHECK(status.system_identifier == rr::testing::ours);
  CHECK(status.position == Lsn{5000});
  CHECK(status.lag == 0s);
  CHECK(status.staleness == 2s);
  CHECK(status.reason == "a reason");
  CHECK(status.pool.max_connections == 10);
  CHECK(status.pool.reserved_for_writes == 2);
  CHECK(status.reads == 1);
  CHECK(status.writes == 2);
  CHECK(status.lost == 3);
  CHECK(status.refused == 4);
  CHECK(status.conflicts == 5);
  CHECK(status.ejections == 6);
  INFO(status.text());
  CHECK(status.text().find("hunter2") == std::string::npos);
  CHECK(status.text().find("password") == std::string::npos);
}
