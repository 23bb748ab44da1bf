#include "replica_router/router.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <array>
#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "cluster_options.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

/// One cluster for all cases of this file that do it no harm.
testing::Cluster& shared_cluster() {
  static testing::Cluster cluster{{.replicas = 3}};
  static bool const is_filled = [] {
    cluster.primary().execute("CREATE TABLE photo(id serial PRIMARY KEY, owner int NOT NULL, title text)");
    cluster.primary().execute("INSERT INTO photo(owner, title) SELECT i, 'photo ' || i FROM generate_series(1, 100) i");
    cluster.wait_until_caught_up();
    return true;
  }();
  static_cast<void>(is_filled);
  return cluster;
}

constexpr auto port_query = "SELECT inet_server_port()";

template <class Function>
std::string message_of_error(Function&& fn) {
  try {
    fn();
  } catch (std::exception const& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

}  // namespace

TEST_CASE("reads go to the replicas in equal shares, writes to the primary") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 3);
  std::map<int, int> served;
  for (int i = 0; i < 300; ++i) {
    ++served[db.read()->query_value<int>(port_query)];
  }
  CHECK(served.size() == 3);
  CHECK_FALSE(served.contains(cluster.primary().port()));
  for (auto const& [port, count] : served) {
    CHECK(count == 100);
  }
  CHECK(db.write([](auto& tx) { return tx.template query_value<int>(port_query); }) == cluster.primary().port());
}

TEST_CASE("read(fn) returns what fn returns, also nothing") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster)};
  CHECK(db.read([](pqxx::transaction_base& tx) {
    return tx.query_value<int>("SELECT count(*) FROM photo WHERE owner <= 100");
  }) == 100);
  auto const rows =
      db.read([](auto& tx) { return tx.exec("SELECT id, title FROM photo WHERE owner = $1", pqxx::params{7}); });
  CHECK(rows.at(0).at(1).template as<std::string>() == "photo 7");
  bool ran = false;
  db.read([&](auto&) { ran = true; });
  CHECK(ran);
}

TEST_CASE("a session reads its own writes at once, whoever serves it") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster)};
  wait_until_known(db, 3);
  for (int i = 0; i < 200; ++i) {
    auto session = db.session();
    auto const id = session.write([&](auto& tx) {
      return tx.exec("INSERT INTO photo(owner, title) VALUES ($1, 'mine') RETURNING id", pqxx::params{1000 + i})
          .one_field()
          .template as<int>();
    });
    auto const seen = session.read([&](auto& tx) {
      return tx.exec("SELECT count(*) FROM photo WHERE id = $1", pqxx::params{id}).one_field().template as<int>();
    });
    REQUIRE(seen == 1);
  }
}

TEST_CASE("a write in a read is the same clear error on every node, and the connection stays usable") {
  auto& cluster = shared_cluster();
  for (auto const replicas : {3, 0}) {
    auto options = options_for(cluster);
    options.replicas.resize(static_cast<std::size_t>(replicas));
    options.max_connections = 3;
    ReplicaRouter db{options, RoundRobin{}};
    wait_until_known(db, static_cast<std::size_t>(replicas));
    for (std::string const statement : {"INSERT INTO photo(owner) VALUES (1)", "SELECT nextval('photo_id_seq')",
                                        "SELECT * FROM photo FOR UPDATE", "CREATE TABLE other(id int)"}) {
      for (int i = 0; i < 6; ++i) {
        CHECK_THAT(message_of_error([&] { db.read()->exec(statement); }),
                   ContainsSubstring("read-only transaction") || ContainsSubstring("during recovery"));
      }
    }
    for (auto const& node : db.status().nodes) {
      CHECK(node.ejections == 0);
      CHECK(node.lost == 0);
      CHECK(node.pool.open <= 1);
    }
    CHECK(db.read()->query_value<int>("SELECT 1") == 1);
  }
}

TEST_CASE("a user who lifts the read-only default does not leave it lifted for the next") {
  auto& cluster = shared_cluster();
  auto options = options_for(cluster);
  options.replicas.clear();
  ReplicaRouter db{options, RoundRobin{}};
  {
    auto lease = db.read();
    lease->exec("SET default_transaction_read_only = off");
  }
  CHECK_THROWS_AS(db.read()->exec("INSERT INTO photo(owner) VALUES (1)"), pqxx::sql_error);
}

TEST_CASE("a transaction that a user left open does not reach the next lease") {
  auto& cluster = shared_cluster();
  auto options = options_for(cluster);
  options.replicas.clear();
  ReplicaRouter db{options, RoundRobin{}};
  db.read()->exec("BEGIN");
  CHECK(db.read()->query_value<bool>("SELECT now() = statement_timestamp()"));
}

TEST_CASE("a snapshot read sees one state") {
  auto& cluster = shared_cluster();
  auto options = options_for(cluster);
  options.replicas.clear();
  ReplicaRouter db{options, RoundRobin{}};
  db.read(ReadOptions{.snapshot = true}, [&](auto& tx) {
    auto const before = tx.template query_value<int>("SELECT count(*) FROM photo");
    db.write([](auto& write) { write.exec("INSERT INTO photo(owner) VALUES (2000)"); });
    CHECK(tx.template query_value<int>("SELECT count(*) FROM photo") == before);
    CHECK(tx.template query_value<std::string>("SHOW transaction_isolation") == "repeatable read");
    CHECK(tx.template query_value<std::string>("SHOW transaction_read_only") == "on");
  });
  db.read([&](auto& tx) {
    auto const before = tx.template query_value<int>("SELECT count(*) FROM photo");
    db.write([](auto& write) { write.exec("INSERT INTO photo(owner) VALUES (2000)"); });
    CHECK(tx.template query_value<int>("SELECT count(*) FROM photo") == before + 1);
  });
}

TEST_CASE("everything of libpqxx works in a write: subtransaction, stream_to, pipeline, prepared statements") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster)};
  db.prepare("count_owner", "SELECT count(*) FROM photo WHERE owner = $1");
  db.write([](pqxx::dbtransaction& tx) {
    {
      pqxx::subtransaction inner{tx, "inner"};
      CHECK_THROWS_AS(inner.exec("SELECT no_such_column FROM photo"), pqxx::sql_error);
      inner.abort();
    }
    auto stream = pqxx::stream_to::table(tx, {"photo"}, {"owner", "title"});
    for (int i = 0; i < 10; ++i) {
      stream.write_values(3000, "streamed");
    }
    stream.complete();
    pqxx::pipeline pipeline{tx};
    auto const query = pipeline.insert("SELECT count(*) FROM photo WHERE owner = 3000");
    CHECK(pipeline.retrieve(query).at(0).at(0).as<int>() == 10);
    pipeline.complete();
    CHECK(tx.exec(pqxx::prepped{"count_owner"}, pqxx::params{3000}).one_field().as<int>() == 10);
  });
  CHECK(db.read([](auto& tx) {
    return tx.exec(pqxx::prepped{"count_owner"}, pqxx::params{3000}).one_field().template as<int>();
  }) == 10);
}

TEST_CASE("prepared statements work on every connection, present and future, of every node") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 3);
  std::vector<decltype(db.read())> held;
  for (int i = 0; i < 6; ++i) {
    held.push_back(db.read());
  }
  held.clear();
  db.prepare("answer", "SELECT 40 + $1::int");
  for (int i = 0; i < 9; ++i) {
    held.push_back(db.read());
    CHECK(held.back()->exec(pqxx::prepped{"answer"}, pqxx::params{2}).one_field().as<int>() == 42);
  }
  db.prepare("wrong", "SELECT no_such_column FROM photo");
  CHECK_THROWS_AS(db.read(), pqxx::sql_error);
}

TEST_CASE("a write rolls back when fn throws, and when nobody commits") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster)};
  auto const count = [&] {
    return db.write(
        [](auto& tx) { return tx.template query_value<int>("SELECT count(*) FROM photo WHERE owner = 4000"); });
  };
  int calls = 0;
  CHECK_THROWS_AS(db.write([&](auto& tx) {
    ++calls;
    tx.exec("INSERT INTO photo(owner) VALUES (4000)");
    throw std::out_of_range{"the user's own"};
  }),
                  std::out_of_range);
  CHECK(calls == 1);
  CHECK(count() == 0);
  {
    auto write = db.write();
    write->exec("INSERT INTO photo(owner) VALUES (4000)");
  }
  CHECK(count() == 0);
  {
    auto write = db.write();
    write->exec("INSERT INTO photo(owner) VALUES (4000)");
    write.commit();
    CHECK_THROWS_AS(write.commit(), UsageError);
  }
  CHECK(count() == 1);
  CHECK(db.status().nodes[0].pool.leased_to_writes == 0);
}

TEST_CASE("an SQL error is thrown on once and the connection goes back usable") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 3);
  int calls = 0;
  CHECK_THROWS_AS(db.read([&](auto& tx) {
    ++calls;
    tx.exec("SELECT * FROM no_such_table");
  }),
                  pqxx::undefined_table);
  CHECK_THROWS_AS(db.write([&](auto& tx) {
    ++calls;
    tx.exec("INSERT INTO photo(owner) VALUES (NULL)");
  }),
                  pqxx::not_null_violation);
  CHECK_THROWS_AS(db.read([&](auto& tx) {
    ++calls;
    tx.exec("SELECT $1::int", pqxx::params{1, 2});
  }),
                  pqxx::failure);
  CHECK(calls == 3);
  for (int i = 0; i < 6; ++i) {
    CHECK(db.read()->query_value<int>("SELECT 1") == 1);
  }
  for (auto const& node : db.status().nodes) {
    CHECK(node.lost == 0);
    CHECK(node.health == Health::up);
  }
}

TEST_CASE("a dead connection is noticed at checkout without a round trip") {
  auto& cluster = shared_cluster();
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 3);
  for (int round = 0; round < 5; ++round) {
    std::array<int, 3> pids{};
    for (auto& pid : pids) {
      pid = db.read()->query_value<int>("SELECT pg_backend_pid()");
    }
    for (std::size_t i = 0; i < 3; ++i) {
      for (auto const pid : pids) {
        cluster.replica(i).execute("SET client_min_messages = error; SELECT pg_terminate_backend(" +
                                   std::to_string(pid) + ", 5000)");
      }
    }
    for (int i = 0; i < 3; ++i) {
      CHECK(db.read()->query_value<int>("SELECT 1") == 1);  // a lease is not run again: it must have been replaced
    }
  }
}

TEST_CASE("two and sixteen threads share one router") {
  auto& cluster = shared_cluster();
  for (int const threads : {2, 16}) {
    auto options = options_for(cluster);
    options.max_connections = 4;
    options.reserved_for_writes = 1;
    ReplicaRouter db{options};
    std::atomic<int> misses{0};
    std::atomic<int> done{0};
    {
      std::vector<std::thread> running;
      for (int t = 0; t < threads; ++t) {
        running.emplace_back([&, t] {
          for (int i = 0; i < 25; ++i) {
            auto session = db.session();
            auto const owner = 10'000 + t * 100 + i;
            session.write([&](auto& tx) { tx.exec("INSERT INTO photo(owner) VALUES ($1)", pqxx::params{owner}); });
            auto const token = session.token();
            auto const seen = [&](auto& tx) {
              return tx.exec("SELECT count(*) FROM photo WHERE owner = $1", pqxx::params{owner})
                  .one_field()
                  .template as<int>();
            };
            misses += session.read(seen) >= 1 ? 0 : 1;
            misses += db.session(token).read(seen) >= 1 ? 0 : 1;
            done += db.read()->query_value<int>("SELECT 1");
            static_cast<void>(db.status());
            static_cast<void>(db.explain());
          }
        });
      }
      for (auto& thread : running) {
        thread.join();
      }
    }
    CHECK(misses == 0);
    CHECK(done == threads * 25);
    for (auto const& node : db.status().nodes) {
      CHECK(node.pool.open <= 4);
      CHECK(node.pool.leased_to_reads + node.pool.leased_to_writes == 0);
    }
  }
}

TEST_CASE("a router that is destroyed at once, or before it knew anything, ends cleanly") {
  auto& cluster = shared_cluster();
  for (int i = 0; i < 20; ++i) {
    ReplicaRouter const db{options_for(cluster)};
  }
  ReplicaRouter const nowhere{{.primary = "host=127.0.0.1 port=1"}};
}

TEST_CASE("a session and a lease outlive the router, with a call in flight") {
  auto& cluster = shared_cluster();
  auto db = std::make_unique<ReplicaRouter<>>(options_for(cluster));
  wait_until_known(*db, 3);
  auto session = db->session();
  auto lease = db->read();
  std::atomic<bool> is_running{false};
  std::thread caller{[session = std::move(session), &is_running]() mutable {
    session.read([&](auto& tx) {
      is_running = true;
      tx.exec("SELECT pg_sleep(0.3)");
    });
  }};
  eventually("the call is in flight", 10s, [&] { return is_running.load(); });
  db.reset();
  CHECK(lease->query_value<int>("SELECT 1") == 1);
  caller.join();
}

TEST_CASE("the router starts degraded, says why, and no message shows a password") {
  auto& cluster = shared_cluster();
  auto options = options_for(cluster);
  options.replicas = {
      {cluster.replica(0).conninfo() + " password='top secret'", {.name = "good"}},
      {cluster.replica(1).conninfo("no_such_database") + " password='top secret'", {.name = "no-database"}},
      {"host=127.0.0.1 port=1 password='top secret'", {.name = "nobody-home"}},
      {"host=no-such-host.invalid password='top secret'", {.name = "no-such-host"}}};
  ReplicaRouter db{options, RoundRobin{}};
  eventually(
      "the bad ones are down with a reason", 15s,
      [&] {
        auto const status = db.status();
        for (auto const* name : {"no-database", "nobody-home", "no-such-host"}) {
          if (node_of(status, name).health != Health::down || node_of(status, name).reason.empty()) {
            return false;
          }
        }
        return node_of(status, "good").health == Health::up;
      },
      [&] { return db.status().text(); });
  CHECK_THAT(node_of(db.status(), "no-database").reason,
             ContainsSubstring("database \"no_such_database\" does not exist"));
  CHECK_THAT(node_of(db.status(), "nobody-home").reason, ContainsSubstring("refused"));
  CHECK(db.read()->query_value<int>(port_query) == cluster.replica(0).port());
  auto const everything = db.status().text() + db.explain().text() + message_of_error([&] {
                            static_cast<void>(ReplicaRouter{{.primary = "host=a password='top secret'",
                                                             .replicas = {"host=a password='top secret'"}}});
                          });
  CHECK_THAT(everything, !ContainsSubstring("top secret") && !ContainsSubstring("secret'"));
}

TEST_CASE("when the only node is away a read and a write say what was tried, within their deadlines") {
  ReplicaRouter db{{.primary = {"host=127.0.0.1 port=1", {.name = "the-primary"}}}};
  auto const read = message_of_error([&] { static_cast<void>(db.read(ReadOptions{.deadline = 300ms})); });
  CHECK_THAT(read, ContainsSubstring("the-primary") && ContainsSubstring("refused"));
  CHECK_THROWS_AS(db.read(ReadOptions{.deadline = 50ms}), NoReplicaAvailable);
  CHECK_THROWS_AS(db.write(WriteOptions{.deadline = 50ms}), NoPrimaryAvailable);
  CHECK_THAT(message_of_error([&] { static_cast<void>(db.write(WriteOptions{.deadline = 50ms})); }),
             ContainsSubstring("the-primary") && ContainsSubstring("refused"));
}

TEST_CASE("a replica added in the place of one removed is probed and read itself, and nothing is left on the old one") {
  auto& cluster = shared_cluster();
  auto options = options_for(cluster);
  options.replicas = {{cluster.replica(0).conninfo() + " application_name=reused_number", {.name = "old"}}};
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 1);
  db.remove_replica("old");
  db.add_replica({cluster.replica(1).conninfo(), {.name = "new"}});
  eventually(
      "the new one serves", 10s, [&] { return db.read().served_by() == "new"; }, [&] { return db.status().text(); });
  CHECK(db.read()->query_value<int>(port_query) == cluster.replica(1).port());
  eventually("no session is left on the old one", 10s, [&] {
    return cluster.replica(0).query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reused_number'") ==
           "0";
  });
}
