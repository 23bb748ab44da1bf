#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cluster_options.hpp"
#include "support/tcp_link.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr auto port_query = "SELECT inet_server_port()";

/// Readers that run until this goes out of scope, and what became of their reads.
class Readers {
 public:
  Readers(int threads, std::function<void()> const& read) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this, read] {
        while (!is_stopping_) {
          auto const before = std::chrono::steady_clock::now();
          try {
            read();
          } catch (std::exception const& error) {
            std::lock_guard const guard{mutex_};
            failures_.emplace_back(error.what());
          }
          auto const took = std::chrono::steady_clock::now() - before;
          std::lock_guard const guard{mutex_};
          longest_ = std::max(longest_, took);
          ++count_;
        }
      });
    }
  }
  Readers(Readers const&) = delete;
  Readers& operator=(Readers const&) = delete;
  ~Readers() { stop(); }

  void stop() {
    is_stopping_ = true;
    for (auto& thread : threads_) {
      thread.join();
    }
    threads_.clear();
  }
  int count() const {
    std::lock_guard const guard{mutex_};
    return count_;
  }
  std::vector<std::string> failures() const {
    std::lock_guard const guard{mutex_};
    return failures_;
  }
  std::chrono::milliseconds longest() const {
    std::lock_guard const guard{mutex_};
    return std::chrono::duration_cast<std::chrono::milliseconds>(longest_);
  }
  /// Waits until so many more reads have completed.
  void wait_for(int more) {
    auto const target = count() + more;
    eventually(
        std::to_string(more) + " more reads have completed", 30s, [&] { return count() >= target; },
        [&] { return std::to_string(count()) + " of " + std::to_string(target); });
  }

 private:
  std::atomic<bool> is_stopping_{false};
  mutable std::mutex mutex_;
  std::vector<std::string> failures_;
  int count_ = 0;
  std::chrono::steady_clock::duration longest_{};
  std::vector<std::thread> threads_;
};

template <class Router>
void wait_until_down(Router& db, std::string const& name) {
  eventually(
      name + " is down", 10s, [&] { return node_of(db.status(), name).health == Health::down; },
      [&] { return db.status().text(); });
}

template <class Router>
std::map<int, int> spread(Router& db, int reads) {
  std::map<int, int> out;
  for (int i = 0; i < reads; ++i) {
    ++out[db.read([](auto& tx) { return tx.template query_value<int>(port_query); })];
  }
  return out;
}

}  // namespace

TEST_CASE("a replica killed under load: no read fails, its share spreads evenly, it returns") {
  testing::Cluster cluster{{.replicas = 3}};
  auto options = options_for(cluster);
  options.warm_up = 1s;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 3);
  {
    Readers readers{4, [&] { db.read([](auto& tx) { tx.exec("SELECT 1"); }); }};
    readers.wait_for(200);
    cluster.replica(1).kill();
    readers.wait_for(400);
    wait_until_down(db, "replica-2");
    readers.stop();
    CHECK(readers.failures() == std::vector<std::string>{});
  }
  auto const without = spread(db, 200);
  CHECK(without == std::map<int, int>{{cluster.replica(0).port(), 100}, {cluster.replica(2).port(), 100}});
  cluster.replica(1).start();
  eventually(
      "the replica takes its whole share again", 40s, [&] { return spread(db, 30)[cluster.replica(1).port()] == 10; },
      [&] { return db.status().text(); });
  CHECK(node_of(db.status(), "replica-2").ejections >= 1);
}

TEST_CASE(
    "a stopped replica: reads in flight complete elsewhere within two seconds, a slow query elsewhere is left alone") {
  testing::Cluster cluster{{.replicas = 3}};
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 3);
  std::atomic<bool> is_slow_done{false};
  std::atomic<bool> is_slow_running{false};
  std::thread slow{[&] {
    // The long query must run on a replica that stays healthy.
    db.read([&](auto& tx) {
      if (tx.template query_value<int>(port_query) == cluster.replica(0).port()) {
        return;
      }
      is_slow_running = true;
      tx.exec("SELECT pg_sleep(4)");
      is_slow_done = true;
    });
    is_slow_running = true;
  }};
  eventually("the slow query runs", 10s, [&] { return is_slow_running.load(); });
  Readers readers{4, [&] { db.read([](auto& tx) { tx.exec("SELECT pg_sleep(0.01)"); }); }};
  readers.wait_for(100);
  cluster.replica(0).suspend();
  readers.wait_for(300);
  wait_until_down(db, "replica-1");
  readers.wait_for(50);
  readers.stop();
  cluster.replica(0).resume();
  slow.join();
  CHECK(readers.failures() == std::vector<std::string>{});
  CHECK(readers.longest() < 2s);
  CHECK(node_of(db.status(), "replica-2").ejections == 0);
  CHECK(node_of(db.status(), "replica-3").ejections == 0);
  CHECK(node_of(db.status(), "replica-2").lost + node_of(db.status(), "replica-3").lost == 0);
}

TEST_CASE("a link that stalls, drops or never answers is as a dead replica, and callers of others do not wait") {
  testing::Cluster cluster{{.replicas = 2}};
  for (auto const mode : {LinkMode::stall, LinkMode::drop, LinkMode::blackhole}) {
    TcpLink link{cluster.replica(0).port()};
    auto options = options_for(cluster);
    options.replicas[0].conninfo += " port=" + std::to_string(link.port());
    ReplicaRouter db{options, RoundRobin{}};
    wait_until_known(db, 2);
    Readers readers{3, [&] { db.read([](auto& tx) { tx.exec("SELECT 1"); }); }};
    readers.wait_for(100);
    link.set(mode);
    wait_until_down(db, "replica-1");
    readers.wait_for(100);
    link.set(LinkMode::forward);
    eventually(
        "the replica is back", 30s, [&] { return node_of(db.status(), "replica-1").health == Health::up; },
        [&] { return db.status().text(); });
    readers.stop();
    CHECK(readers.failures() == std::vector<std::string>{});
    CHECK(readers.longest() < 2500ms);
  }
}

TEST_CASE("a node that never answers the connection attempt costs no caller of another node anything") {
  testing::Cluster cluster{{.replicas = 1}};
  TcpLink link{cluster.replica(0).port()};
  link.set(LinkMode::blackhole);
  auto options = options_for(cluster);
  options.replicas.push_back(
      {cluster.replica(0).conninfo() + " port=" + std::to_string(link.port()), {.name = "blackhole"}});
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 1);
  auto const before = std::chrono::steady_clock::now();
  CHECK(spread(db, 50).size() == 1);
  CHECK(std::chrono::steady_clock::now() - before < 1s);
}

TEST_CASE("all replicas down: the primary serves reads and keeps its reserved connections for writes") {
  testing::Cluster cluster{{.replicas = 2}};
  auto options = options_for(cluster);
  options.max_connections = 4;
  options.reserved_for_writes = 2;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 2);
  cluster.replica(0).kill();
  cluster.replica(1).kill();
  Readers readers{8, [&] { db.read([](auto& tx) { tx.exec("SELECT pg_sleep(0.02)"); }); }};
  wait_until_down(db, "replica-1");
  wait_until_down(db, "replica-2");
  readers.wait_for(50);
  for (int i = 0; i < 20; ++i) {
    auto const before = std::chrono::steady_clock::now();
    db.write([](auto& tx) { tx.exec("SELECT 1"); });
    CHECK(std::chrono::steady_clock::now() - before < 1s);
    auto const pool = node_of(db.status(), "primary").pool;
    CHECK(pool.leased_to_reads <= 2);
  }
  readers.stop();
  CHECK(readers.failures() == std::vector<std::string>{});
}

TEST_CASE(
    "the primary killed: reads go on, writes are told what was tried, a promotion is followed, the old one is fenced") {
  testing::Cluster cluster{{.replicas = 2}};
  cluster.primary().execute("CREATE TABLE photo(owner int)");
  cluster.wait_until_caught_up();
  ReplicaRouter db{options_for(cluster)};
  wait_until_known(db, 2);
  db.write([](auto& tx) { tx.exec("INSERT INTO photo VALUES (1)"); });
  auto const old_token = db.token();
  cluster.wait_until_caught_up();
  auto reader_session = db.session();
  Readers readers{3, [&] { reader_session.read([](auto& tx) { tx.exec("SELECT count(*) FROM photo"); }); }};
  readers.wait_for(50);
  cluster.primary().kill();
  wait_until_down(db, "primary");
  readers.wait_for(50);
  try {
    db.write(WriteOptions{.deadline = 300ms}, [](auto& tx) { tx.exec("INSERT INTO photo VALUES (2)"); });
    FAIL("a write went through without a primary");
  } catch (NoPrimaryAvailable const& error) {
    CHECK_THAT(error.what(), ContainsSubstring("primary: down") && ContainsSubstring("refused"));
  }
  CHECK(db.read([](auto& tx) { return tx.template query_value<int>("SELECT count(*) FROM photo"); }) == 1);

  cluster.replica(0).promote();
  db.write(WriteOptions{.deadline = 10s}, [&](auto& tx) {
    CHECK(tx.template query_value<int>(port_query) == cluster.replica(0).port());
    tx.exec("INSERT INTO photo VALUES (3)");
  });
  cluster.replica(1).follow(cluster.replica(0));
  CHECK(db.read([](auto& tx) { return tx.template query_value<int>("SELECT count(*) FROM photo"); }) == 2);
  CHECK(db.observe(old_token) == TokenVerdict::before_failover);
  eventually(
      "the other replica serves the session again", 20s,
      [&] {
        return db.read([](auto& tx) { return tx.template query_value<int>(port_query); }) == cluster.replica(1).port();
      },
      [&] { return db.explain().text(); });

  cluster.primary().start();
  eventually(
      "the old primary is fenced", 40s, [&] { return node_of(db.status(), "primary").role == Role::fenced; },
      [&] { return db.status().text(); });
  for (int i = 0; i < 5; ++i) {
    db.write([&](auto& tx) { CHECK(tx.template query_value<int>(port_query) == cluster.replica(0).port()); });
  }
  readers.stop();
  CHECK(readers.failures() == std::vector<std::string>{});
}

TEST_CASE("a replica of another cluster is quarantined") {
  testing::Cluster cluster{{.replicas = 1}};
  testing::Cluster other{{.replicas = 1}};
  auto options = options_for(cluster);
  options.replicas.push_back({other.replica(0).conninfo(), {.name = "stranger"}});
  ReplicaRouter db{options, RoundRobin{}};
  eventually(
      "the stranger is quarantined", 10s, [&] { return node_of(db.status(), "stranger").role == Role::foreign; },
      [&] { return db.status().text(); });
  wait_until_known(db, 1);
  CHECK(spread(db, 20) == std::map<int, int>{{cluster.replica(0).port(), 20}});
  CHECK(node_of(db.status(), "stranger").system_identifier != db.status().system_identifier);
}

TEST_CASE("a recovery conflict runs the read elsewhere") {
  testing::Cluster cluster{{.replicas = 1, .settings = {"max_standby_streaming_delay = 200ms"}}};
  cluster.primary().execute("CREATE TABLE doomed(id int); INSERT INTO doomed VALUES (1); CREATE TABLE photo(id int)");
  cluster.wait_until_caught_up();
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 1);
  std::vector<int> ports;
  db.read(ReadOptions{.snapshot = true}, [&](auto& tx) {
    ports.push_back(tx.template query_value<int>(port_query));
    if (ports.size() == 1) {
      tx.exec("SELECT * FROM doomed");
      cluster.primary().execute("DROP TABLE doomed");
    }
    for (int i = 0; i < 40; ++i) {
      tx.exec("SELECT count(*), pg_sleep(0.05) FROM photo");
    }
  });
  REQUIRE(ports.size() == 2);
  CHECK(ports[0] == cluster.replica(0).port());
  CHECK(ports[1] == cluster.primary().port());
  CHECK(node_of(db.status(), "replica-1").conflicts == 1);
  CHECK(node_of(db.status(), "replica-1").ejections == 0);
}

TEST_CASE("statement timeouts, syntax errors and constraint violations never eject a node") {
  testing::Cluster cluster{{.replicas = 2}};
  cluster.primary().execute("CREATE TABLE account(id int PRIMARY KEY); INSERT INTO account VALUES (1)");
  cluster.wait_until_caught_up();
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 2);
  for (int i = 0; i < 300; ++i) {
    CHECK_THROWS_AS(db.read([](auto& tx) { tx.exec("SELECT wrong syntax here"); }), pqxx::sql_error);
    CHECK_THROWS_AS(db.write([](auto& tx) { tx.exec("INSERT INTO account VALUES (1)"); }), pqxx::unique_violation);
    if (i % 30 == 0) {
      CHECK_THROWS_AS(db.read(ReadOptions{.snapshot = true},
                              [](auto& tx) {
                                tx.exec("SET LOCAL statement_timeout = '5ms'");
                                tx.exec("SELECT pg_sleep(1)");
                              }),
                      pqxx::sql_error);
    }
  }
  for (auto const& node : db.status().nodes) {
    CHECK(node.ejections == 0);
    CHECK(node.lost == 0);
    CHECK(node.health == Health::up);
  }
}

TEST_CASE("serialization failures and deadlocks of a write are retried as asked") {
  testing::Cluster cluster{{.replicas = 0}};
  cluster.primary().execute("CREATE TABLE counter(id int PRIMARY KEY, n int); INSERT INTO counter VALUES (1, 0)");
  ReplicaRouter db{options_for(cluster)};
  std::atomic<int> retried{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        db.write(WriteOptions{.isolation = Isolation::serializable, .max_attempts = 100}, [&](auto& tx, int attempt) {
          retried += attempt > 1 ? 1 : 0;
          auto const n = tx.template query_value<int>("SELECT n FROM counter WHERE id = 1");
          tx.exec("UPDATE counter SET n = $1 WHERE id = 1", pqxx::params{n + 1});
        });
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(cluster.primary().query("SELECT n FROM counter") == "100");
  CHECK(retried > 0);
}

TEST_CASE("a connection cut with COMMIT under way is in doubt; exactly_once settles it both ways") {
  testing::Cluster cluster{{.replicas = 0}};
  auto& primary = cluster.primary();
  primary.execute("CREATE TABLE payment(id int)");
  TcpLink link{primary.port()};
  ReplicaRouter db{{.primary = {primary.conninfo() + " port=" + std::to_string(link.port()), {.name = "primary"}}}};
  wait_until_known(db, 0);
  auto const count = [&](int id) {
    return primary.query("SELECT count(*) FROM payment WHERE id = " + std::to_string(id));
  };
  // Pays once through a link that is cut while COMMIT is under way, in the given manner.
  auto const pay = [&](int id, LinkMode cut, WriteOptions const& options) {
    std::atomic<bool> is_cut{false};
    std::thread mender{[&] {
      eventually("the link is cut", 10s, [&] { return is_cut.load(); });
      auto const since = std::chrono::steady_clock::now();
      eventually("COMMIT was sent", 10s, [&] {
        return cut == LinkMode::stall_answers ? count(id) == "1" : std::chrono::steady_clock::now() - since > 200ms;
      });
      link.set(LinkMode::drop);
      link.set(LinkMode::forward);
    }};
    struct Join {
      std::thread& thread;
      ~Join() { thread.join(); }
    } const join{mender};
    int calls = 0;
    db.write(options, [&](pqxx::dbtransaction& tx) {
      tx.exec("INSERT INTO payment VALUES ($1)", pqxx::params{id});
      if (++calls == 1) {
        link.set(cut);
        is_cut = true;
      }
    });
    return calls;
  };
  CHECK_THROWS_AS(pay(1, LinkMode::stall_answers, {.deadline = 10s}), CommitInDoubt);
  CHECK(count(1) == "1");
  CHECK(pay(2, LinkMode::stall_answers, {.exactly_once = true, .deadline = 20s}) == 1);
  CHECK(count(2) == "1");
  CHECK(pay(3, LinkMode::stall, {.exactly_once = true, .deadline = 20s}) == 2);
  CHECK(count(3) == "1");
}

TEST_CASE("two writable nodes of the same timeline: writes are refused with the reason, reads go on") {
  testing::Cluster cluster{{.replicas = 2}};
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 2);
  cluster.replica(0).break_away();
  eventually(
      "the split is seen", 15s, [&] { return db.read([](auto&) {}), db.status().is_split; },
      [&] { return db.status().text(); });
  try {
    db.write(WriteOptions{.deadline = 200ms}, [](auto& tx) { tx.exec("SELECT 1"); });
    FAIL("a write went through");
  } catch (NoPrimaryAvailable const& error) {
    CHECK_THAT(error.what(), ContainsSubstring("same timeline"));
  }
  CHECK(spread(db, 10) == std::map<int, int>{{cluster.replica(1).port(), 10}});
}

TEST_CASE("a rolling restart of all nodes under load: no read fails, every acknowledged write is there") {
  testing::Cluster cluster{{.replicas = 2}};
  cluster.primary().execute("CREATE TABLE entry(id int PRIMARY KEY)");
  cluster.wait_until_caught_up();
  auto options = options_for(cluster);
  options.warm_up = 500ms;
  options.max_backoff = 1s;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 2);
  std::atomic<int> next{0};
  std::atomic<int> acknowledged{0};
  Readers readers{2, [&] { db.read([](auto& tx) { tx.exec("SELECT count(*) FROM entry"); }); }};
  Readers writers{2, [&] {
                    auto const id = ++next;
                    db.write(WriteOptions{.exactly_once = true, .deadline = 20s},
                             [&](auto& tx) { tx.exec("INSERT INTO entry VALUES ($1)", pqxx::params{id}); });
                    ++acknowledged;
                  }};
  for (auto* node : {&cluster.replica(0), &cluster.replica(1), &cluster.primary()}) {
    readers.wait_for(50);
    node->stop_fast();
    node->start();
    auto const name = node->name();
    eventually(
        name + " is up again", 20s, [&] { return node_of(db.status(), name).health == Health::up; },
        [&] { return db.status().text(); });
  }
  readers.wait_for(50);
  writers.stop();
  readers.stop();
  CHECK(readers.failures() == std::vector<std::string>{});
  CHECK(writers.failures() == std::vector<std::string>{});
  CHECK(cluster.primary().query("SELECT count(*) FROM entry") == std::to_string(acknowledged));
}
