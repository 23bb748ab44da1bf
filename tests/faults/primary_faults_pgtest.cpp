#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "faults/load.hpp"
#include "faults/node_watch.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

Options quick_to_return(Options options) {
  options.backoff = 200ms;
  options.max_backoff = 400ms;
  options.warm_up = 500ms;
  return options;
}

int entries_on(ClusterNode const& node) { return std::stoi(node.query("SELECT count(*) FROM entry")); }

/// The line about one node.
std::string line_of(std::string const& text, std::string const& name) {
  auto const at = text.find('\n' + name);
  return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
}

/// Holds several reads of one replica at once; the process numbers at the other end of their connections.
template <class Router>
std::set<std::string> connections_of(Router& db, ClusterNode const& node) {
  std::vector<decltype(db.read())> held;
  std::set<std::string> out;
  for (int i = 0; i < 12; ++i) {
    held.push_back(db.read());
    if (held.back().served_by() == node.name()) {
      out.insert(held.back()->template query_value<std::string>("SELECT pg_backend_pid()"));
    }
  }
  return out;
}

}  // namespace

TEST_CASE("the primary killed: reads go on, writes are told within their deadline what was tried, and go on after") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  ReplicaRouter db{quick_to_return(options_for(cluster)), RoundRobin{}};
  wait_until_known(db, 2);
  Load load{db, {.write = {.deadline = 300ms}}};
  load.wait_for(100, 20);
  load.mark();
  cluster.primary().kill();
  wait_until_down(db, "primary");
  load.wait_for(200);
  auto const refused = load.refusals().size();
  eventually("each writer was refused more than once", 20s, [&] { return load.refusals().size() >= refused + 6; });
  CHECK(load.longest_write() < 300ms + 2s);
  auto const refusals = load.refusals();
  for (auto i = refused + 2; i < refusals.size(); ++i) {  // not those that were under way when it went down
    CHECK_THAT(refusals[i], ContainsSubstring("no primary took the write within 300.0 ms") &&
                                ContainsSubstring("primary: ") && ContainsSubstring("replica-2: "));
  }
  try {
    db.write(WriteOptions{.deadline = 100ms}, [](auto& tx) { tx.exec("SELECT 1"); });
    FAIL("a write went through without a primary");
  } catch (NoPrimaryAvailable const& error) {
    CHECK_THAT(error.what(), ContainsSubstring("primary: down") && ContainsSubstring("refused") &&
                                 ContainsSubstring("replica-1: up, replica"));
  }
  cluster.primary().start();
  load.wait_for(20, 20);
  load.settle("the primary killed, then restarted", cluster.primary());
}

TEST_CASE("a replica promoted: writes follow, none is run twice; the old primary returns writable and is fenced") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  auto& old_primary = cluster.primary();
  auto& new_primary = cluster.replica(0);
  // What was acknowledged is on the replica that is promoted: without this the server itself may lose it.
  old_primary.set("synchronous_standby_names", "FIRST 1 (\"replica-1\")");
  // And the other one never has what that one lacks, or it could not follow it afterwards.
  cluster.replica(1).follow(new_primary);
  old_primary.execute("CREATE TABLE photo(owner int)");
  cluster.wait_until_caught_up();
  ReplicaRouter db{quick_to_return(options_for(cluster))};
  wait_until_known(db, 2);
  auto const old_connections = connections_of(db, new_primary);
  CHECK(old_connections.size() > 1);
  auto session = db.session();
  auto const photos = [&] {
    return session.read([](auto& tx) { return tx.template query_value<int>("SELECT count(*) FROM photo"); });
  };
  session.write([](auto& tx) { tx.exec("INSERT INTO photo VALUES (1)"); });
  auto const old_token = session.token();
  cluster.wait_until_caught_up();
  eventually("a replica is proven to have the session's write", 10s, [&] {
    return session.read([](auto& tx) { return tx.template query_value<int>(port_query); }) != old_primary.port();
  });
  {
    Load load{db, {.write = {.exactly_once = true, .deadline = 30s}}};
    load.wait_for(100, 50);
    old_primary.kill();
    wait_until_down(db, "primary");
    CHECK(photos() == 1);
    load.mark();
    new_primary.promote();
    load.wait_for(100, 50);
    eventually("no connection of the old epoch is left", 20s, [&] {
      auto list = std::string{"0"};
      for (auto const& pid : old_connections) {
        list += "," + pid;
      }
      return new_primary.query("SELECT count(*) FROM pg_stat_activity WHERE pid IN (" + list + ")") == "0";
    });
    session.write([&](auto& tx) {
      CHECK(tx.template query_value<int>(port_query) == new_primary.port());
      tx.exec("INSERT INTO photo VALUES (2)");
    });
    CHECK(photos() == 2);
    CHECK(db.observe(old_token) == TokenVerdict::before_failover);
    CHECK(load.refusals() == std::vector<std::string>{});
    CHECK(load.until_first_write() >= 0ms);
    load.settle("a replica promoted: from pg_promote() to the first write", new_primary, load.until_first_write());
  }
  eventually(
      "the other replica serves the session that has written", 20s,
      [&] { return spread(session, 4)[cluster.replica(1).port()] == 4; },
      [&] { return session.explain().text() + cluster.replica(1).log_tail(); });
  CHECK(photos() == 2);

  old_primary.start();
  REQUIRE(old_primary.query("SELECT pg_is_in_recovery()") == "f");
  // It is the only one that waits for a synchronous replica, which follows another by now.
  old_primary.set("synchronous_standby_names", std::nullopt);
  auto const there_before = entries_on(old_primary);
  auto const writes_before = node_of(db.status(), "primary").writes;
  Load load{db};
  load.mark();
  eventually(
      "the old primary is fenced", 30s, [&] { return node_of(db.status(), "primary").role == Role::fenced; },
      [&] { return db.status().text(); });
  load.wait_for(100, 50);
  CHECK_THAT(line_of(db.status().text(), "primary"), ContainsSubstring("fenced"));
  CHECK_THAT(line_of(db.explain().text(), "primary"), ContainsSubstring("fenced: writable, but not the primary"));
  CHECK(node_of(db.status(), "primary").timeline < db.status().timeline);
  CHECK(load.refusals() == std::vector<std::string>{});
  load.settle("the old primary returns still writable", new_primary);
  CHECK(entries_on(old_primary) == there_before);
  CHECK(node_of(db.status(), "primary").writes == writes_before);
}

TEST_CASE("two writable nodes of the same timeline: writes are refused with the reason, reads go on") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  ReplicaRouter db{quick_to_return(options_for(cluster)), RoundRobin{}};
  wait_until_known(db, 2);
  Load load{db, {.write = {.deadline = 200ms}}};
  load.wait_for(50, 20);
  load.mark();
  cluster.replica(0).break_away();
  eventually(
      "the split is seen", 15s, [&] { return db.status().is_split; }, [&] { return db.status().text(); });
  eventually("writes are refused with the reason", 10s, [&] {
    auto const refusals = load.refusals();
    return !refusals.empty() && refusals.back().find("two writable nodes of the same timeline") != std::string::npos;
  });
  // Writes that were under way on the true primary may end; then nobody writes anywhere.
  auto const refused = load.refusals().size();
  eventually("each writer was refused once more", 10s, [&] { return load.refusals().size() >= refused + 4; });
  auto const acknowledged = load.acknowledged();
  auto const there = entries_on(cluster.primary());
  auto const astray = entries_on(cluster.replica(0));
  load.wait_for(50);
  CHECK(load.acknowledged() == acknowledged);
  CHECK(entries_on(cluster.primary()) == there);
  CHECK(entries_on(cluster.replica(0)) == astray);
  CHECK(spread(db, 10) == std::map<int, int>{{cluster.replica(1).port(), 10}});
  cluster.replica(0).kill();
  load.wait_for(20, 20);
  CHECK_FALSE(db.status().is_split);
  load.settle("two writable nodes of the same timeline, until one is stopped", cluster.primary());
  CHECK(entries_on(cluster.primary()) > there);
}

TEST_CASE("a replica of another cluster is quarantined, and the message has both system identifiers") {
  testing::Cluster cluster{{.replicas = 1}};
  testing::Cluster other{{.replicas = 1}};
  create_entries(cluster);
  auto const identifier_of = [](ClusterNode const& node) {
    return node.query("SELECT system_identifier FROM pg_control_system()");
  };
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 1);
  Load load{db};
  load.wait_for(50, 10);
  load.mark();
  db.add_replica({other.replica(0).conninfo(), {.name = "stranger"}});
  eventually(
      "the stranger is quarantined", 10s, [&] { return node_of(db.status(), "stranger").role == Role::foreign; },
      [&] { return db.status().text(); });
  CHECK(spread(db, 20) == std::map<int, int>{{cluster.replica(0).port(), 20}});
  for (auto const& text : {db.status().text(), db.explain().text()}) {
    CHECK_THAT(line_of(text, "stranger"), ContainsSubstring(identifier_of(cluster.primary())) &&
                                              ContainsSubstring(identifier_of(other.primary())));
  }
  load.wait_for(50, 10);
  load.settle("a \"replica\" of another cluster", cluster.primary());
  CHECK(node_of(db.status(), "stranger").reads == 0);
  CHECK(node_of(db.status(), "stranger").pool.open == 0);
}

TEST_CASE("a rolling restart of all nodes under load: no read fails, every acknowledged write is there") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  ReplicaRouter db{quick_to_return(options_for(cluster)), RoundRobin{}};
  wait_until_known(db, 2);
  Load load{db, {.write = {.exactly_once = true, .deadline = 30s}}};
  load.wait_for(50, 20);
  load.mark();
  for (auto* node : {&cluster.replica(0), &cluster.replica(1), &cluster.primary()}) {
    node->stop_fast();
    node->start();
    wait_until_up(db, node->name());
    load.wait_for(50, 20);
  }
  CHECK(load.refusals() == std::vector<std::string>{});
  CHECK(load.doubts() == 0);
  load.settle("rolling restart of all nodes", cluster.primary());
}
