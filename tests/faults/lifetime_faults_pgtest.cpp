#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "faults/load.hpp"
#include "faults/node_watch.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;

TEST_CASE("a router destroyed with calls in flight: its sessions serve on, and the last of them ends everything") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  auto options = options_for(cluster);
  for (auto* endpoint : {&options.primary, &options.replicas[0], &options.replicas[1]}) {
    endpoint->conninfo += " application_name=outlived";
  }
  auto db = std::make_unique<ReplicaRouter<>>(options);
  wait_until_known(*db, 2);
  auto session = std::make_unique<ReplicaRouter<>>(db->session());
  Load load{*session, {.readers = 6, .writers = 3}};
  load.wait_for(50, 20);
  load.mark();
  auto lease = db->read();
  db.reset();
  CHECK(lease->query_value<int>("SELECT 1") == 1);
  load.wait_for(50, 20);

  // Several more sessions, each owned by the thread that uses it; whichever ends last takes the rest with it.
  std::atomic<int> running{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> owners;
  for (int i = 0; i < 4; ++i) {
    owners.emplace_back([own = session->session(), &running, &failed]() mutable {
      try {
        own.read([&](auto& tx) {
          ++running;
          tx.exec("SELECT pg_sleep(0.4)");
        });
      } catch (std::exception const&) {
        ++failed;
      }
    });
  }
  eventually("their calls are in flight", 20s, [&] { return running == 4; });
  load.stop();
  session.reset();
  lease.end();
  for (auto& owner : owners) {
    owner.join();
  }
  CHECK(failed == 0);
  load.settle("router destroyed, sessions outlive it, calls in flight", cluster.primary());
  for (auto* node : {&cluster.primary(), &cluster.replica(0), &cluster.replica(1)}) {
    auto const left = [&] {
      return node->query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'outlived'");
    };
    eventually(
        "nothing is left on " + node->name(), 10s, [&] { return left() == "0"; }, left);
  }
}

TEST_CASE("a router is destroyed at once although a node has fallen silent with a probe under way") {
  testing::Cluster cluster{{.replicas = 1}};
  auto db = std::make_unique<ReplicaRouter<>>(options_for(cluster));
  wait_until_known(*db, 1);
  cluster.replica(0).suspend();
  cluster.primary().suspend();
  wait_until_down(*db, "replica-1");
  auto const before = std::chrono::steady_clock::now();
  db.reset();
  CHECK(std::chrono::steady_clock::now() - before < 2s);
  cluster.replica(0).resume();
  cluster.primary().resume();
}
