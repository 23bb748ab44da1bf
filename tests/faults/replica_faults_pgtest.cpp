#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "faults/load.hpp"
#include "faults/node_watch.hpp"
#include "support/tcp_link.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;

namespace {

/// Tries a node that is down again soon, so that a test need not wait for long.
Options quick_to_return(Options options) {
  options.backoff = 200ms;
  options.max_backoff = 400ms;
  return options;
}

/// A query that must be left alone for as long as it runs, on a replica that is not the given one.
class SlowQuery {
 public:
  template <class Router>
  SlowQuery(Router& db, int port_to_avoid, std::string const& sql)
      : thread_{[this, &db, port_to_avoid, sql] {
          while (!is_running_) {
            db.read([&](auto& tx) {
              auto const port = tx.template query_value<int>(port_query);
              if (port != port_to_avoid) {
                ++runs_;
                is_running_ = true;
                tx.exec(sql);
              }
            });
          }
        }} {
    eventually("the slow query runs", 10s, [&] { return is_running_.load(); });
  }
  SlowQuery(SlowQuery const&) = delete;
  SlowQuery& operator=(SlowQuery const&) = delete;
  ~SlowQuery() { join(); }

  void join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  /// How often it was run; more than once when it was cut.
  int runs() const { return runs_; }

 private:
  std::atomic<bool> is_running_{false};
  std::atomic<int> runs_{0};
  std::thread thread_;
};

std::uint64_t reads_of(Status const& status, std::string const& name) { return node_of(status, name).reads; }

}  // namespace

TEST_CASE("a replica killed under load: no read fails, its share spreads evenly, it returns gradually") {
  testing::Cluster cluster{{.replicas = 3}};
  create_entries(cluster);
  auto options = quick_to_return(options_for(cluster));
  options.warm_up = 2s;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 3);
  {
    Load load{db};
    load.wait_for(100, 10);
    load.mark();
    cluster.replica(1).kill();
    load.wait_for(200, 20);
    wait_until_down(db, "replica-2");
    load.settle("a replica killed (-9)", cluster.primary());
  }
  CHECK(spread(db, 200) == std::map<int, int>{{cluster.replica(0).port(), 100}, {cluster.replica(2).port(), 100}});
  CHECK(node_of(db.status(), "replica-2").ejections >= 1);

  Load load{db};
  load.wait_for(50);
  load.mark();
  cluster.replica(1).start();
  wait_until_up(db, "replica-2");
  auto const at_return = db.status();
  auto const since = std::chrono::steady_clock::now();
  eventually("the warm-up has been under way for a moment", 10s,
             [&] { return std::chrono::steady_clock::now() - since > 500ms; });
  auto const later = db.status();
  auto const its = reads_of(later, "replica-2") - reads_of(at_return, "replica-2");
  std::uint64_t all = 0;
  for (auto const* name : {"replica-1", "replica-2", "replica-3"}) {
    all += reads_of(later, name) - reads_of(at_return, name);
  }
  // By now it is due a twentieth; over the whole warm-up it would be a sixth, without one a third.
  CHECK(its * 5 < all);
  load.wait_for(50, 10);
  load.settle("the killed replica returns", cluster.primary());
  eventually(
      "the replica takes its whole share again", 30s, [&] { return spread(db, 30)[cluster.replica(1).port()] == 10; },
      [&] { return db.status().text(); });
}

TEST_CASE("a replica that falls silent: reads in flight complete elsewhere, a slow query on another is left alone") {
  testing::Cluster cluster{{.replicas = 3}};
  create_entries(cluster);
  auto& victim = cluster.replica(0);
  // All limits are the defaults: the two seconds are promised for them.
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 3);
  auto const began = std::chrono::steady_clock::now();
  SlowQuery slow{db, victim.port(), "SELECT pg_sleep(10)"};

  auto const is_survived = [&](auto& router, std::string const& fault, std::function<void()> const& happens,
                               std::function<void()> const& ends) {
    INFO(fault);
    Load load{router, {.readers = 6, .read = "SELECT pg_sleep(0.02)"}};
    load.wait_for(100, 10);
    struct AtEnd {
      std::function<void()> const& run;
      ~AtEnd() { run(); }
    } const mended{ends};  // also when something is not seen in time: the readers could not be joined
    auto const lost_before = node_of(router.status(), "replica-1").lost;
    load.mark();
    happens();
    wait_until_down(router, "replica-1");
    load.wait_for(100, 10);
    load.wait_for_calls_under_way();
    CHECK(node_of(router.status(), "replica-1").lost > lost_before);  // or none was in flight
    CHECK(load.longest_read() < 2s);
    ends();
    load.settle(fault, cluster.primary());
  };

  is_survived(
      db, "a replica stopped (SIGSTOP), reads in flight", [&] { victim.suspend(); }, [&] { victim.resume(); });

  TcpLink link{victim.port()};
  for (auto const& [fault, mode] : std::map<std::string, LinkMode>{
           {"a replica behind a link that stalls", LinkMode::stall},
           {"a replica behind a link that drops all", LinkMode::drop},
           {"a replica behind a link that accepts and never answers", LinkMode::blackhole},
           {"a replica behind a link that no connection gets through", LinkMode::unreachable}}) {
    auto options = options_for(cluster);
    options.replicas[0] = through(link.port(), victim);
    ReplicaRouter linked{options, RoundRobin{}};
    wait_until_known(linked, 3);
    is_survived(
        linked, fault, [&, wanted = mode] { link.set(wanted); }, [&] { link.set(LinkMode::forward); });
    wait_until_up(linked, "replica-1");
  }

  slow.join();
  CHECK(slow.runs() == 1);
  CHECK(std::chrono::steady_clock::now() - began >= 10s);
  for (auto const* name : {"replica-2", "replica-3"}) {
    CHECK(node_of(db.status(), name).ejections == 0);
    CHECK(node_of(db.status(), name).lost == 0);
  }
}

TEST_CASE("a node that is slow to connect: no caller of another node waits") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  TcpLink link{cluster.replica(0).port()};
  TcpLink silent{cluster.replica(0).port()};
  silent.set(LinkMode::blackhole);
  auto options = options_for(cluster);
  options.replicas[0] = through(link.port(), cluster.replica(0));
  options.replicas.push_back(
      {cluster.replica(0).conninfo() + " port=" + std::to_string(silent.port()), {.name = "silent"}});
  options.connect_timeout = 20s;
  options.probe_timeout = 20s;  // slow is not silent: the node stays in
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 2);

  std::mutex mutex;
  std::chrono::steady_clock::duration slowest_there{};
  std::chrono::steady_clock::duration slowest_elsewhere{};
  LoadShape const shape{.readers = 6, .writers = 2};
  Load load{shape,
            [&] {
              auto const before = std::chrono::steady_clock::now();
              std::string name;
              {
                auto lease = db.read();
                name = lease.served_by();
                lease->exec("SELECT pg_sleep(0.003)");
              }
              auto const took = std::chrono::steady_clock::now() - before;
              std::lock_guard const guard{mutex};
              auto& slowest = name == "replica-1" ? slowest_there : slowest_elsewhere;
              slowest = std::max(slowest, took);
            },
            [&](std::int64_t id) {
              auto const before = std::chrono::steady_clock::now();
              db.write([&](auto& tx) {
                tx.exec("INSERT INTO entry SELECT $1::bigint FROM pg_sleep(0.003)", pqxx::params{id});
              });
              auto const took = std::chrono::steady_clock::now() - before;
              std::lock_guard const guard{mutex};
              slowest_elsewhere = std::max(slowest_elsewhere, took);
            }};
  load.wait_for(50, 20);
  load.mark();
  {
    std::lock_guard const guard{mutex};
    slowest_there = slowest_elsewhere = {};
  }
  link.set_delay(600ms);
  eventually("somebody was held by the slow node", 20s, [&] {
    std::lock_guard const guard{mutex};
    return slowest_there > 1100ms;
  });
  load.wait_for(12, 50);
  link.set_delay(0ms);
  load.settle("a node that is slow to connect", cluster.primary());
  CHECK(slowest_elsewhere < 1s);
}

TEST_CASE("a returning replica that answers probes while its new connections hang is left out, not tried by all") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  TcpLink link{cluster.replica(0).port()};
  auto options = quick_to_return(options_for(cluster));
  options.replicas[0] = through(link.port(), cluster.replica(0));
  options.connect_timeout = 400ms;
  options.warm_up = 0ms;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 2);
  link.set(LinkMode::drop);
  wait_until_down(db, "replica-1");
  link.set(LinkMode::forward);
  wait_until_up(db, "replica-1");
  link.set(LinkMode::mute_newcomers);  // the probe is in, and nobody else

  constexpr std::size_t readers = 6;
  auto const began = std::chrono::steady_clock::now();
  Load load{db, {.readers = static_cast<int>(readers)}};
  load.mark();
  eventually("the load has run for a while", 20s, [&] { return std::chrono::steady_clock::now() - began > 3s; });
  load.stop();
  CHECK(load.longest_read() < 1400ms);
  // Each may be caught once; after that only whoever is the canary. Tried by every read it would be seven each.
  CHECK(load.reads_of_at_least(380ms) <= 3 * readers);
  CHECK(load.median_read() < 380ms);
  link.set(LinkMode::forward);
  load.settle("a replica that answers probes and no new connection", cluster.primary());
  eventually(
      "the replica serves again", 30s, [&] { return spread(db, 20)[cluster.replica(0).port()] > 0; },
      [&] { return db.status().text(); });
}

TEST_CASE("all replicas down: the primary serves reads, writes keep their reserved connections and their latency") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  auto options = quick_to_return(options_for(cluster));
  options.max_connections = 4;
  options.reserved_for_writes = 2;
  options.acquire_timeout = 60s;
  options.warm_up = 0ms;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 2);
  Load load{db, {.readers = 12, .writers = 2, .read = "SELECT pg_sleep(0.05)"}};
  load.wait_for(20, 20);
  cluster.replica(0).kill();
  cluster.replica(1).kill();
  wait_until_down(db, "replica-1");
  wait_until_down(db, "replica-2");
  load.mark();
  auto const fallbacks_before = db.status().fallbacks;
  std::size_t most_leased = 0;
  auto const wanted = load.reads() + 80;
  eventually("80 reads were served by the primary", 60s, [&] {
    most_leased = std::max(most_leased, node_of(db.status(), "primary").pool.leased_to_reads);
    return load.reads() >= wanted;
  });
  CHECK(db.status().fallbacks >= fallbacks_before + 60);
  CHECK(most_leased == 2);
  // Reads queue for two connections, six deep: 300 ms each. A write that had to queue with them would take as long.
  auto const median_read = load.median_read();
  auto const median_write = load.median_write();
  INFO("median read " << median_read.count() << " ms, median write " << median_write.count() << " ms");
  CHECK(2 * median_write < median_read);
  cluster.replica(0).start();
  cluster.replica(1).start();
  wait_until_up(db, "replica-1");
  wait_until_up(db, "replica-2");
  load.wait_for(20, 20);
  load.settle("all replicas down, then back", cluster.primary());
}

TEST_CASE("a recovery conflict: the same read elsewhere, then on the primary within its reservation") {
  testing::Cluster cluster{{.replicas = 2, .settings = {"max_standby_streaming_delay = 200ms"}}};
  create_entries(cluster);
  cluster.primary().execute("CREATE TABLE doomed_1(id int); CREATE TABLE doomed_2(id int); CREATE TABLE photo(id int)");
  cluster.wait_until_caught_up();
  auto options = options_for(cluster);
  ReplicaRouter others{options, RoundRobin{}};
  options.max_connections = 2;
  options.reserved_for_writes = 1;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 2);
  wait_until_known(others, 2);
  Load load{others};
  load.wait_for(20, 10);
  load.mark();
  std::vector<int> ports;
  db.read(ReadOptions{.snapshot = true}, [&](auto& tx) {
    ports.push_back(tx.template query_value<int>(port_query));
    if (ports.size() > 2) {
      auto const pool = node_of(db.status(), "primary").pool;
      CHECK(pool.leased_to_reads == 1);
      db.write([](auto& write) { write.exec("SELECT 1"); });  // its connection is not taken
      return;
    }
    auto const doomed = "doomed_" + std::to_string(ports.size());
    tx.exec("SELECT * FROM " + doomed);
    cluster.primary().execute("DROP TABLE " + doomed);
    for (int i = 0; i < 200; ++i) {
      tx.exec("SELECT count(*), pg_sleep(0.05) FROM photo");
    }
  });
  load.settle("recovery conflict (40001 on a standby)", cluster.primary());
  REQUIRE(ports.size() == 3);
  CHECK(ports[0] != ports[1]);
  CHECK(ports[0] != cluster.primary().port());
  CHECK(ports[1] != cluster.primary().port());
  CHECK(ports[2] == cluster.primary().port());
  auto const status = db.status();
  CHECK(status.retries == 2);
  for (auto const* name : {"replica-1", "replica-2"}) {
    CHECK(node_of(status, name).conflicts == 1);
    CHECK(node_of(status, name).ejections == 0);
  }
}

TEST_CASE("replicas added and removed at run time: no read fails, a removed one drains, then its connections close") {
  testing::Cluster cluster{{.replicas = 1}};
  create_entries(cluster);
  auto options = options_for(cluster);
  options.replicas[0].conninfo += " application_name=leaves";
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 1);
  Load load{db};
  load.wait_for(50, 10);
  load.mark();
  auto const& fresh = cluster.add_replica();
  db.add_replica({fresh.conninfo(), {.name = fresh.name()}});
  eventually(
      "the new replica serves", 30s, [&] { return spread(db, 20)[fresh.port()] > 0; },
      [&] { return db.status().text(); });

  auto held = db.read();
  while (held.served_by() != "replica-1") {
    held = db.read();
  }
  auto const pid = held->query_value<int>("SELECT pg_backend_pid()");
  db.remove_replica("replica-1");
  CHECK(spread(db, 40) == std::map<int, int>{{fresh.port(), 40}});
  load.wait_for(50, 10);
  CHECK(held->query_value<int>("SELECT pg_backend_pid()") == pid);  // it drains: what is out ends in peace
  auto const sessions = [&] {
    return cluster.replica(0).query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaves'");
  };
  eventually(
      "only the lease that is out is left", 10s, [&] { return sessions() == "1"; }, sessions);
  held.end();
  eventually(
      "its connections are closed", 10s, [&] { return sessions() == "0"; }, sessions);
  load.settle("replicas added and removed at run time", cluster.primary());
}
