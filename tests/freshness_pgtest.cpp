#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "cluster_options.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr auto port_query = "SELECT inet_server_port()";

template <class Router>
int port_of_read(Router& db, ReadOptions const& options = {}) {
  return db.read(options, [](auto& tx) { return tx.template query_value<int>(port_query); });
}

template <class Router>
void insert(Router& db) {
  db.write([](auto& tx) { tx.exec("INSERT INTO photo(owner) VALUES (1)"); });
}

/// A cluster with one table, and a router that knows all of it.
struct Rig {
  explicit Rig(testing::ClusterOptions cluster_options = {.replicas = 2}, Options changes = {})
      : cluster{cluster_options} {
    cluster.primary().execute("CREATE TABLE photo(id serial PRIMARY KEY, owner int)");
    cluster.wait_until_caught_up();
    options = options_for(cluster);
    changes.primary = options.primary;
    changes.replicas = options.replicas;
    options = changes;
  }
  int primary_port() { return cluster.primary().port(); }
  int replica_port(std::size_t i) { return cluster.replica(i).port(); }

  testing::Cluster cluster;
  Options options;
};

}  // namespace

TEST_CASE("an idle cluster is fresh: the staleness bound stays small and a session's old write is proven") {
  Rig rig;
  ReplicaRouter db{rig.options};
  insert(db);
  wait_until_known(db, 2);
  eventually(
      "a replica serves the session that has written", 5s, [&] { return port_of_read(db) != rig.primary_port(); },
      [&] { return db.explain().text(); });
  for (int i = 0; i < 20; ++i) {
    auto const lease = db.read();
    CHECK(lease.served_by() != "primary");
    CHECK(lease.staleness() < 1s);
  }
  CHECK(port_of_read(db, {.max_staleness = 2s, .on_unmet = OnUnmet::fail}) != rig.primary_port());
}

namespace {

/// Writes log until the insert position sits just past a page header: a message is measured, the next fills the page.
constexpr auto fill_page_exactly = R"(
DO $$
DECLARE
  before pg_lsn;
  after pg_lsn;
  at numeric;
BEGIN
  FOR i IN 1..50 LOOP
    before := pg_current_wal_insert_lsn();
    PERFORM pg_logical_emit_message(false, '', repeat('x', 1000));
    after := pg_current_wal_insert_lsn();
    at := (after - '0/0') % 8192;
    IF at BETWEEN 1500 AND 5000 THEN
      PERFORM pg_logical_emit_message(false, '', repeat('x', (1000 + 8192 - at - (after - before))::int));
      EXIT WHEN (pg_current_wal_insert_lsn() - '0/0') % 8192 IN (24, 40);
    END IF;
  END LOOP;
END $$)";

}  // namespace

TEST_CASE("an insert position just past a page header: a caught-up replica is eligible with no further write") {
  Rig rig{{.replicas = 1}};
  auto& primary = rig.cluster.primary();
  bool is_undisturbed = false;
  // The server itself writes a record now and then; a try that it disturbs proves nothing, and is made again.
  for (int tries = 0; tries < 10 && !is_undisturbed; ++tries) {
    primary.execute(fill_page_exactly);
    auto const wanted = Lsn::parse(primary.query("SELECT pg_current_wal_insert_lsn()"));
    REQUIRE(wanted);
    REQUIRE((wanted->bytes() % 8192 == 24 || wanted->bytes() % 8192 == 40));
    ReplicaRouter db{rig.options};
    auto const is_served_by_replica = [&](auto& reader, ReadOptions const& read) {
      try {
        eventually(
            "the replica is proven to have what an idle primary has", 3s,
            [&] { return port_of_read(reader, read) == rig.replica_port(0); },
            [&] { return reader.explain(read).text(); });
        return true;
      } catch (ConditionNotMet const& seen) {
        UNSCOPED_INFO(seen.what());
        return false;
      }
    };
    bool const is_fresh = is_served_by_replica(db, {.max_staleness = 1s});
    // Fresh it is before it has the log itself, which no commit has flushed: that comes with the WAL writer's next
    // round.
    auto session = db.session(Token{db.status().system_identifier, 1, *wanted}.text());
    bool const is_proven = is_served_by_replica(session, {});
    is_undisturbed = primary.query("SELECT pg_current_wal_insert_lsn()") == wanted->text();
    if (is_undisturbed) {
      CHECK(is_fresh);
      CHECK(is_proven);
    }
  }
  CHECK(is_undisturbed);
}

TEST_CASE("log that an idle primary keeps unflushed makes no replica stale") {
  Rig rig{{.replicas = 1}};
  auto& primary = rig.cluster.primary();
  bool is_undisturbed = false;
  for (int tries = 0; tries < 20 && !is_undisturbed; ++tries) {
    // A record without a commit: nothing flushes it until the next commit, or the server's own housekeeping.
    primary.execute("SELECT pg_logical_emit_message(false, '', 'unflushed')");
    auto const flushed = Lsn::parse(primary.query("SELECT pg_current_wal_flush_lsn()"));
    REQUIRE(flushed);
    ReplicaRouter db{rig.options};
    std::string seen;
    bool is_fresh = true;
    try {
      wait_until_known(db, 1);
      eventually(
          "the replica is proven", 4s,
          [&] { return port_of_read(db, {.max_staleness = 1500ms}) == rig.replica_port(0); },
          [&] { return db.explain({.max_staleness = 1500ms}).text(); });
    } catch (ConditionNotMet const& unmet) {
      is_fresh = false;
      seen = unmet.what();
    }
    is_undisturbed = primary.query("SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()") == "t";
    INFO(seen);
    if (is_undisturbed) {
      CHECK(is_fresh);
    }
  }
  CHECK(is_undisturbed);
}

TEST_CASE("a WAL receiver that is cut: the bound grows while the primary is idle, and more so while it writes") {
  Rig rig{{.replicas = 1}};
  ReplicaRouter db{rig.options};
  wait_until_known(db, 1);
  rig.cluster.replica(0).cut_wal_receiver();
  CHECK(port_of_read(db, {.max_staleness = 2s}) == rig.replica_port(0));  // nothing was written: it lacks nothing
  insert(db);
  CHECK(port_of_read(db) == rig.primary_port());
  auto reader = db.session();
  eventually(
      "the bound has grown past a second", 10s,
      [&] {
        port_of_read(reader);
        return node_of(db.status(), "replica-1").staleness > 1s && node_of(db.status(), "replica-1").lag > 500ms;
      },
      [&] { return db.status().text(); });
  CHECK(port_of_read(reader, {.max_staleness = 1s}) == rig.primary_port());
  CHECK_THROWS_AS(port_of_read(reader, {.max_staleness = 1s, .on_unmet = OnUnmet::fail}), FreshnessUnmet);
  CHECK(port_of_read(reader, {.max_staleness = 1s, .on_unmet = OnUnmet::serve_stale}) == rig.replica_port(0));
  try {
    port_of_read(reader, {.max_staleness = 1s, .on_unmet = OnUnmet::fail});
  } catch (FreshnessUnmet const& error) {
    CHECK_THAT(error.what(), ContainsSubstring("replica-1: proven at most") && ContainsSubstring("the limit is 1.0 s"));
  }
  rig.cluster.replica(0).restore_wal_receiver();
  eventually(
      "the replica serves the writing session again", 15s, [&] { return port_of_read(db) == rig.replica_port(0); },
      [&] { return db.explain().text(); });
}

TEST_CASE("replay paused: other sessions read there, the writer does not, until it is resumed") {
  Rig rig{{.replicas = 1}};
  ReplicaRouter db{rig.options};
  wait_until_known(db, 1);
  rig.cluster.replica(0).pause_replay();
  auto writer = db.session();
  auto reader = db.session();
  insert(writer);
  for (int i = 0; i < 5; ++i) {
    CHECK(port_of_read(writer) == rig.primary_port());
    CHECK(port_of_read(reader) == rig.replica_port(0));
  }
  rig.cluster.replica(0).resume_replay();
  eventually(
      "the replica serves the writer", 10s, [&] { return port_of_read(writer) == rig.replica_port(0); },
      [&] { return writer.explain().text(); });
}

TEST_CASE("replay delayed by 200 ms: a read may wait for it, and never sees less than its own write") {
  Rig rig{{.replicas = 1}};
  ReplicaRouter db{rig.options};
  wait_until_known(db, 1);
  rig.cluster.replica(0).delay_replay(200ms);
  for (int i = 0; i < 5; ++i) {
    auto session = db.session();
    auto const id = session.write([](auto& tx) {
      return tx.exec("INSERT INTO photo(owner) VALUES (2) RETURNING id").one_field().template as<int>();
    });
    auto const before = std::chrono::steady_clock::now();
    session.read({.wait_up_to = 3s, .on_unmet = OnUnmet::fail}, [&](auto& tx) {
      CHECK(tx.template query_value<int>(port_query) == rig.replica_port(0));
      CHECK(tx.exec("SELECT count(*) FROM photo WHERE id = $1", pqxx::params{id}).one_field().template as<int>() == 1);
    });
    CHECK(std::chrono::steady_clock::now() - before < 1500ms);
  }
}

TEST_CASE("synchronous_commit off, on and remote_apply: a session always sees its write") {
  for (std::string const mode : {"off", "on", "remote_apply"}) {
    Rig rig{{.replicas = 2, .settings = {"synchronous_commit = " + mode}}};
    if (mode == "remote_apply") {
      rig.cluster.primary().set("synchronous_standby_names", "*");
    }
    ReplicaRouter db{rig.options};
    wait_until_known(db, 2);
    int by_replica = 0;
    for (int i = 0; i < 100; ++i) {
      auto session = db.session();
      auto const id = session.write([](auto& tx) {
        return tx.exec("INSERT INTO photo(owner) VALUES (3) RETURNING id").one_field().template as<int>();
      });
      session.read([&](auto& tx) {
        by_replica += tx.template query_value<int>(port_query) == rig.primary_port() ? 0 : 1;
        CHECK(tx.exec("SELECT count(*) FROM photo WHERE id = $1", pqxx::params{id}).one_field().template as<int>() ==
              1);
      });
    }
    if (mode == "remote_apply") {
      CHECK(by_replica >= 50);  // each commit waited for one of the two to have applied it
    }
  }
}

TEST_CASE("a replica that has replayed no transaction since its start is as fresh as any") {
  Rig rig{{.replicas = 1}};
  rig.cluster.primary().execute("CHECKPOINT");
  rig.cluster.wait_until_caught_up();
  rig.cluster.replica(0).execute("CHECKPOINT");
  rig.cluster.replica(0).stop_fast();
  rig.cluster.replica(0).start();
  REQUIRE(rig.cluster.replica(0).query("SELECT pg_last_xact_replay_timestamp() IS NULL") == "t");
  ReplicaRouter db{rig.options};
  wait_until_known(db, 1);
  eventually(
      "it is proven fresh", 5s, [&] { return port_of_read(db, {.max_staleness = 1s}) == rig.replica_port(0); },
      [&] { return db.explain({.max_staleness = 1s}).text(); });
}

TEST_CASE("the primary unreachable: the bound keeps growing, the lag stands still, reads without a limit go on") {
  Rig rig{{.replicas = 1}};
  ReplicaRouter db{rig.options};
  insert(db);
  wait_until_known(db, 1);
  auto reader = db.session();
  eventually("the replica is proven", 5s, [&] { return port_of_read(db) == rig.replica_port(0); });
  rig.cluster.primary().suspend();
  eventually(
      "the bound has grown past two seconds", 15s,
      [&] {
        port_of_read(reader);
        return node_of(db.status(), "replica-1").staleness > 2s;
      },
      [&] { return db.status().text(); });
  CHECK(node_of(db.status(), "replica-1").lag < 1s);
  CHECK(port_of_read(reader) == rig.replica_port(0));
  CHECK(port_of_read(db) == rig.replica_port(0));  // its write was proven before
  CHECK_THROWS_AS(port_of_read(reader, {.max_staleness = 1s, .deadline = 200ms}), FreshnessUnmet);
  rig.cluster.primary().resume();
}

TEST_CASE("a replica far behind that catches up: left out beyond max_lag, then waited for, then as fresh as any") {
  Rig rig{{.replicas = 2}, {.max_lag = 300ms}};
  rig.cluster.primary().execute("CREATE TABLE bulk(filler text)");
  ReplicaRouter db{rig.options, RoundRobin{}};
  wait_until_known(db, 2);
  auto& slow = rig.cluster.replica(1);
  slow.pause_replay();
  auto const verdict_on_slow = [&] {
    for (auto const& node : db.explain().nodes) {
      if (node.name == "replica-2") {
        return node;
      }
    }
    return NodeExplanation{};
  };
  eventually(
      "it is too far behind to serve", 20s,
      [&] {
        rig.cluster.primary().execute("INSERT INTO bulk SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
        port_of_read(db);
        return verdict_on_slow().verdict == Verdict::behind_max_lag;
      },
      [&] { return db.explain().text(); });
  CHECK_THAT(verdict_on_slow().text(), ContainsSubstring("replica-2: ") && ContainsSubstring("behind, max_lag is 300"));
  for (int i = 0; i < 10; ++i) {
    CHECK(port_of_read(db) == rig.replica_port(0));
  }
  auto const rows = std::stoi(rig.cluster.primary().query("SELECT count(*) FROM bulk"));
  Token const everything{db.status().system_identifier, db.status().timeline,
                         Lsn::parse(rig.cluster.primary().query("SELECT pg_current_wal_insert_lsn()")).value()};
  slow.resume_replay();
  rig.cluster.replica(0).kill();
  // Alone now, and still busy replaying: it serves when it has everything, not sooner.
  eventually(
      "it serves again, with everything", 20s,
      [&] {
        try {
          auto const lease = db.read({.at_least = everything, .wait_up_to = 5s, .on_unmet = OnUnmet::fail});
          CHECK(lease->query_value<int>(port_query) == rig.replica_port(1));
          CHECK(lease->query_value<int>("SELECT count(*) FROM bulk") >= rows);
          return true;
        } catch (FreshnessUnmet const& unmet) {
          CHECK_THAT(unmet.what(), ContainsSubstring("replica-2: "));
          return false;
        }
      },
      [&] { return db.explain().text(); });
}

TEST_CASE("a promotion: a session that holds a token from before sees its write, and is not pinned by it") {
  Rig rig{{.replicas = 2}};
  ReplicaRouter db{rig.options};
  wait_until_known(db, 2);
  auto session = db.session();
  insert(session);
  auto const token = session.token();
  rig.cluster.wait_until_caught_up();
  rig.cluster.primary().kill();
  rig.cluster.replica(0).promote();
  auto const count = [](auto& tx) { return tx.template query_value<int>("SELECT count(*) FROM photo"); };
  // All through the change of primary, the session itself and one that comes with its token see the write.
  eventually(
      "the new primary takes writes", 20s,
      [&] {
        CHECK(session.read({.deadline = 10s}, count) >= 1);
        CHECK(db.session(token).read({.deadline = 10s}, count) >= 1);
        return db.status().primary == "replica-1";
      },
      [&] { return db.status().text(); });
  CHECK(session.observe(token) == TokenVerdict::before_failover);
  rig.cluster.replica(1).follow(rig.cluster.replica(0));
  auto with_token = db.session(token);
  for (auto* reader : {&session, &with_token}) {
    eventually(
        "the replica that is left serves it", 20s,
        [&] {
          CHECK(reader->read(count) == 1);
          return port_of_read(*reader) == rig.replica_port(1);
        },
        [&] { return reader->explain().text(); });
  }
}

TEST_CASE("tokens: of another cluster, far ahead, from before, and ten thousand random texts") {
  Rig rig{{.replicas = 1}};
  ReplicaRouter db{rig.options};
  wait_until_known(db, 1);
  insert(db);
  auto const token = db.token();
  auto const parsed = Token::parse(token);
  REQUIRE(parsed);
  CHECK(parsed->system_identifier ==
        std::stoull(rig.cluster.primary().query("SELECT system_identifier FROM pg_control_system()")));
  auto session = db.session();
  CHECK(session.observe(token) == TokenVerdict::accepted);
  auto forged = *parsed;
  forged.system_identifier += 1;
  CHECK(session.observe(forged.text()) == TokenVerdict::of_another_cluster);
  forged = *parsed;
  forged.lsn = Lsn{parsed->lsn.bytes() + (1ULL << 30U)};
  CHECK(session.observe(forged.text()) == TokenVerdict::ahead_of_primary);
  forged.lsn = parsed->lsn;
  forged.timeline = 9;
  CHECK(session.observe(forged.text()) == TokenVerdict::ahead_of_primary);
  std::mt19937 random{7};
  for (int i = 0; i < 10'000; ++i) {
    auto text = i % 2 == 0 ? token : std::string{};
    if (i % 2 == 0) {
      text[random() % text.size()] = static_cast<char>(random() % 256);
      if (text == token || Token::parse(text)) {
        continue;  // another valid token is judged by what it says
      }
    } else {
      text.resize(1 + random() % 60);
      for (auto& c : text) {
        c = static_cast<char>(random() % 256);
      }
    }
    CHECK(session.observe(text) == TokenVerdict::malformed);
  }
  eventually(
      "nothing of it pinned the session", 5s, [&] { return port_of_read(session) == rig.replica_port(0); },
      [&] { return session.explain().text(); });
}

TEST_CASE("a token newer than what another router knows is waited for, a moment only, and honoured") {
  Rig rig{{.replicas = 1}};
  ReplicaRouter writer{rig.options};
  ReplicaRouter elsewhere{rig.options};
  wait_until_known(writer, 1);
  wait_until_known(elsewhere, 1);
  for (int i = 0; i < 20; ++i) {
    insert(writer);
    auto session = elsewhere.session();
    auto const before = std::chrono::steady_clock::now();
    CHECK(session.observe(writer.token()) == TokenVerdict::accepted);
    CHECK(std::chrono::steady_clock::now() - before < 500ms);
    CHECK(session.read([&](auto& tx) { return tx.template query_value<int>("SELECT count(*) FROM photo"); }) == i + 1);
  }
}

TEST_CASE("after a write most reads 20 ms later are served by a replica") {
  Rig rig;
  ReplicaRouter db{rig.options};
  wait_until_known(db, 2);
  int by_replica = 0;
  constexpr int rounds = 100;
  for (int i = 0; i < rounds; ++i) {
    auto session = db.session();
    insert(session);
    auto const until = std::chrono::steady_clock::now() + 20ms;
    eventually("20 ms have passed", 1s, [&] { return std::chrono::steady_clock::now() >= until; });
    by_replica += port_of_read(session) == rig.primary_port() ? 0 : 1;
  }
  CHECK(by_replica > rounds / 2);
}

TEST_CASE("monotonic reads hold while replicas differ and die") {
  Rig rig{{.replicas = 2}};
  rig.options.monotonic_reads = MonotonicReads::on;
  ReplicaRouter db{rig.options, RoundRobin{}};
  wait_until_known(db, 2);
  rig.cluster.replica(1).delay_replay(150ms);
  auto writer = db.session();
  auto reader = db.session();
  int seen = 0;
  int steps_back = 0;
  for (int i = 0; i < 150; ++i) {
    if (i == 100) {
      rig.cluster.replica(0).kill();
    }
    insert(writer);
    auto const now_seen =
        reader.read([](auto& tx) { return tx.template query_value<int>("SELECT count(*) FROM photo"); });
    steps_back += now_seen < seen ? 1 : 0;
    seen = now_seen;
  }
  CHECK(steps_back == 0);
}

TEST_CASE("a user without any privilege is served all the same, and what the server refuses is unknown") {
  Rig rig{{.replicas = 1}};
  rig.cluster.primary().execute(
      "CREATE ROLE plain LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO plain; GRANT ALL ON ALL SEQUENCES IN "
      "SCHEMA public TO plain");
  rig.cluster.wait_until_caught_up();
  for (auto& replica : rig.options.replicas) {
    replica.conninfo += " user=plain";
  }
  rig.options.primary.conninfo += " user=plain";
  {
    ReplicaRouter db{rig.options};
    wait_until_known(db, 1);
    insert(db);
    eventually(
        "the replica is proven", 5s, [&] { return port_of_read(db) == rig.replica_port(0); },
        [&] { return db.explain().text(); });
  }
  rig.cluster.primary().execute(
      "REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn), pg_control_system(), pg_control_checkpoint() FROM PUBLIC");
  rig.cluster.wait_until_caught_up();
  {
    ReplicaRouter db{rig.options};
    wait_until_known(db, 1);
    auto reader = db.session();
    CHECK(port_of_read(reader) == rig.replica_port(0));
    insert(db);
    CHECK(port_of_read(db) == rig.primary_port());  // nothing can be proven without a timeline
    CHECK_THROWS_AS(db.token(), Error);
  }
}
