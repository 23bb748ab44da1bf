#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "faults/load.hpp"
#include "faults/node_watch.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("too many connections, a wrong password and an unknown database are told apart, and none is for ever") {
  testing::Cluster cluster{{.replicas = 3, .hba = {"host all late 127.0.0.1/32 scram-sha-256"}}};
  create_entries(cluster);
  cluster.primary().execute(
      "CREATE ROLE small LOGIN CONNECTION LIMIT 3; CREATE ROLE late LOGIN PASSWORD 'not the one'");
  cluster.wait_until_caught_up();
  auto options = options_for(cluster);
  options.replicas = {{cluster.replica(0).conninfo(), {.name = "good"}},
                      {cluster.replica(1).conninfo() + " user=small", {.name = "full"}},
                      {cluster.replica(2).conninfo() + " user=late password='a secret'", {.name = "password"}},
                      {cluster.replica(2).conninfo("not_yet"), {.name = "database"}}};
  options.backoff = 100ms;
  options.max_backoff = 200ms;
  options.warm_up = 0ms;
  std::vector<std::unique_ptr<pqxx::connection>> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(std::make_unique<pqxx::connection>(options.replicas[1].conninfo));
  }
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 1);
  Load load{db, {.readers = 8, .writers = 2, .read = "SELECT pg_sleep(0.01)"}};
  load.mark();
  eventually(
      "each of the three has its reason", 20s,
      [&] {
        auto const seen = db.status();
        return !node_of(seen, "full").reason.empty() && !node_of(seen, "password").reason.empty() &&
               !node_of(seen, "database").reason.empty();
      },
      [&] { return db.status().text(); });
  CHECK_THAT(node_of(db.status(), "full").reason, ContainsSubstring("too many connections for role"));
  CHECK(node_of(db.status(), "full").health != Health::down);
  others.clear();
  // Now it is let in, and its own pool wants more than it is allowed.
  wait_until_up(db, "full");
  eventually(
      "the full one was asked for more than it has", 20s, [&] { return node_of(db.status(), "full").refused > 0; },
      [&] { return db.status().text(); });
  load.wait_for(50, 20);
  auto const status = db.status();
  CHECK(node_of(status, "full").health == Health::up);
  CHECK(node_of(status, "full").ejections == 0);
  CHECK(node_of(status, "full").reads > 0);
  CHECK(node_of(status, "password").health == Health::down);
  CHECK_THAT(node_of(status, "password").reason, ContainsSubstring("password authentication failed"));
  CHECK(node_of(status, "database").health == Health::down);
  CHECK_THAT(node_of(status, "database").reason, ContainsSubstring("database \"not_yet\" does not exist"));
  CHECK_THAT(status.text() + db.explain().text(), !ContainsSubstring("a secret"));

  cluster.primary().execute("ALTER ROLE small CONNECTION LIMIT -1; ALTER ROLE late PASSWORD 'a secret'");
  cluster.primary().execute("CREATE DATABASE not_yet");
  wait_until_up(db, "password");
  wait_until_up(db, "database");
  eventually(
      "the one that was full has all the connections it wants", 20s,
      [&] { return node_of(db.status(), "full").pool.open >= 3; }, [&] { return db.status().text(); });
  load.wait_for(50, 20);
  load.settle("too many connections (53300), wrong password, unknown database", cluster.primary());
  eventually(
      "all four have their share", 20s,
      [&] {
        auto const before = db.status();
        spread(db, 40);
        auto const after = db.status();
        return std::ranges::all_of(std::array{"good", "full", "password", "database"}, [&](auto const* name) {
          return node_of(after, name).reads == node_of(before, name).reads + 10;
        });
      },
      [&] { return db.status().text(); });
}

TEST_CASE("two hundred threads on a pool of four: fair and bounded waiting, a PoolTimeout says who holds what") {
  testing::Cluster cluster{{.replicas = 1}};
  create_entries(cluster);
  auto options = options_for(cluster);
  options.max_connections = 4;
  options.reserved_for_writes = 1;
  options.acquire_timeout = 60s;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 1);
  auto const pool_of = [&](std::string const& name) { return node_of(db.status(), name).pool; };

  Load load{db, {.readers = 150, .writers = 50, .write = {.deadline = 60s}}};
  load.mark();
  // Counted is from when all are at it: a thread that the system starts late must not look like one that was passed
  // over.
  std::vector<std::size_t> before;
  eventually("every thread has ended a call", 60s, [&] {
    before = load.calls_of_each_thread();
    return std::find(before.begin(), before.end(), 0U) == before.end();
  });
  load.wait_for(5 * 150, 5 * 50);
  CHECK(pool_of("replica-1").open <= 4);
  CHECK(pool_of("primary").open <= 4);
  load.stop();
  auto calls = load.calls_of_each_thread();
  std::transform(calls.begin(), calls.end(), before.begin(), calls.begin(), std::minus{});
  auto const is_fair = [](auto from, auto to) {
    auto const [least, most] = std::minmax_element(from, to);
    INFO("the least served had " << *least << ", the most served " << *most);
    CHECK(*least >= 1);
    CHECK(*most <= 2 * *least + 2);
  };
  is_fair(calls.begin(), calls.begin() + 150);
  is_fair(calls.begin() + 150, calls.end());

  // All is held, for longer than anybody may wait.
  {
    std::vector<decltype(db.read())> held;
    std::vector<decltype(db.write())> held_writes;
    for (int i = 0; i < 4; ++i) {
      held.push_back(db.read());
      held_writes.push_back(db.write());
    }
    std::atomic<int> told_of_reads{0};
    std::atomic<int> told_of_writes{0};
    std::mutex mutex;
    std::vector<std::string> others;
    auto const began = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (int i = 0; i < 200; ++i) {
      threads.emplace_back([&, i] {
        std::string message;
        try {
          if (i % 2 == 0) {
            static_cast<void>(db.read(ReadOptions{.deadline = 300ms}));
          } else {
            static_cast<void>(db.write(WriteOptions{.deadline = 300ms}));
          }
        } catch (PoolTimeout const& error) {
          message = error.what();
        } catch (std::exception const& error) {
          message = std::string{"not a PoolTimeout: "} + error.what();
        }
        auto const says = [&](char const* text) { return message.find(text) != std::string::npos; };
        if (says("no connection to replica-1 became free within 300") && says("4 connections are held by reads") &&
            says("0 by writes") && says("of at most 4") && says("the oldest lease is")) {
          ++told_of_reads;
        } else if (says("no connection to primary became free within 300") && says("0 connections are held by reads") &&
                   says("4 by writes") && says("other callers wait")) {
          ++told_of_writes;
        } else {
          std::lock_guard const guard{mutex};
          others.push_back(message);
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    CHECK(others == std::vector<std::string>{});
    CHECK(told_of_reads == 100);
    CHECK(told_of_writes == 100);
    CHECK(std::chrono::steady_clock::now() - began < 10s);
    try {
      static_cast<void>(db.read(ReadOptions{.deadline = 50ms}));
      FAIL("there was a fifth connection");
    } catch (PoolTimeout const& error) {
      CHECK_THAT(error.what(), ContainsSubstring("this thread already holds 4 of this node's leases"));
    }
  }
  CHECK(spread(db, 8).size() == 1);
  for (auto const* name : {"replica-1", "primary"}) {
    CHECK(pool_of(name).waiting == 0);
    CHECK(pool_of(name).leased_to_reads + pool_of(name).leased_to_writes == 0);
  }
  load.settle("pool of 4 exhausted by 200 threads", cluster.primary());
}
