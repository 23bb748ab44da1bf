#include "replica_router/router.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "replica_router/policies.hpp"
#include "simulation/simulated_cluster.hpp"

using namespace replica_router;
using namespace std::chrono_literals;
namespace sim = replica_router::simulation;

namespace {

Endpoint named(std::string const& name) { return {"host=" + name, {.name = name}}; }

/// A primary and replicas in virtual time.
struct Rig {
  std::shared_ptr<sim::World> world = std::make_shared<sim::World>();
  Options options;

  explicit Rig(int replicas = 3) {
    (*world)["primary"].is_in_recovery = false;
    options.primary = named("primary");
    for (int i = 1; i <= replicas; ++i) {
      auto const name = "replica-" + std::to_string(i);
      (*world)[name].is_in_recovery = true;
      options.replicas.push_back(named(name));
    }
  }

  template <class Policy>
  ReplicaRouter<Policy, sim::Backend> router(Policy policy) {
    return ReplicaRouter<Policy, sim::Backend>{options, std::move(policy), sim::Backend{world}};
  }
  sim::Server& operator[](std::string const& name) { return (*world)[name]; }
  void advance(Duration duration) { world->advance(duration); }
};

template <class Router>
std::map<std::string, int> spread(Router& db, int reads) {
  std::map<std::string, int> out;
  for (int i = 0; i < reads; ++i) {
    ++out[db.read([](sim::ReadTransaction& tx) { return tx.select(), tx.node(); })];
  }
  return out;
}

/// Writes down every event in words.
struct Scribe : Observer {
  void on_route(RouteEvent const& event) override {
    note((event.operation == Operation::read ? "read on " : "write on ") + event.node);
  }
  void on_retry(RetryEvent const& event) override { note("retry after " + event.node + ": " + event.reason); }
  void on_fallback(FallbackEvent const& event) override {
    note("fallback to " + event.node + ": " + std::string{text_of(event.reason)});
  }
  void on_node_change(NodeChangeEvent const& event) override {
    note(event.node + ": " + std::string{text_of(event.health_before)} + " " + std::string{text_of(event.role_before)} +
         " -> " + std::string{text_of(event.health)} + " " + std::string{text_of(event.role)} +
         (event.reason.empty() ? "" : ", " + event.reason));
  }
  void on_failover(FailoverEvent const& event) override {
    note("failover from " + event.node_before + " " + std::to_string(event.timeline_before) + " to " + event.node +
         " " + std::to_string(event.timeline));
    without_primary = event.without_primary;
  }
  void note(std::string line) {
    std::lock_guard const guard{mutex};
    lines.push_back(std::move(line));
  }
  std::vector<std::string> told() {
    std::lock_guard const guard{mutex};
    return std::exchange(lines, {});
  }

  std::mutex mutex;
  std::vector<std::string> lines;
  Duration without_primary{};
};

/// A policy that chooses what does not exist.
struct OutOfRange {
  std::optional<std::size_t> choose(ReadRequest const&, std::span<ReplicaView const> eligible) {
    return eligible.size();
  }
};

/// A policy that always says "the primary".
struct OnlyPrimary {
  std::optional<std::size_t> choose(ReadRequest const&, std::span<ReplicaView const>) { return std::nullopt; }
};

}  // namespace

TEST_CASE("reads are spread over the replicas and writes go to the primary") {
  Rig rig;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  CHECK(spread(db, 300) == std::map<std::string, int>{{"replica-1", 100}, {"replica-2", 100}, {"replica-3", 100}});
  CHECK(db.write([](sim::WriteTransaction& tx) { return tx.node(); }) == "primary");
}

TEST_CASE("without any replica the primary serves every read") {
  Rig rig{0};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  CHECK(spread(db, 10) == std::map<std::string, int>{{"primary", 10}});
  CHECK(db.status().fallbacks == 10);
}

TEST_CASE("the router starts degraded and takes nodes in as they come") {
  Rig rig{2};
  rig["replica-1"].is_running = false;
  rig["replica-2"].is_running = false;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  CHECK(spread(db, 10) == std::map<std::string, int>{{"primary", 10}});
  rig["replica-1"].is_running = true;
  rig.advance(40s);
  CHECK(spread(db, 10) == std::map<std::string, int>{{"replica-1", 10}});
}

TEST_CASE("a read waits for the first evidence rather than failing in the first millisecond") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  CHECK(db.read([](sim::ReadTransaction& tx) { return tx.node(); }) != "");
}

TEST_CASE("a replica that dies in a read is left, and the read runs elsewhere") {
  Rig rig;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  spread(db, 30);  // connections are open
  rig["replica-2"].is_running = false;
  auto const shares = spread(db, 300);
  CHECK_FALSE(shares.contains("replica-2"));
  CHECK_FALSE(shares.contains("primary"));
  CHECK(shares.at("replica-1") >= 149);
  CHECK(shares.at("replica-3") >= 149);
}

TEST_CASE("a read blocked on a hung replica completes elsewhere within two seconds") {
  Rig rig;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  spread(db, 30);
  for (auto const* name : {"replica-1", "replica-2", "replica-3"}) {
    rig[name].is_hung = true;
    auto const before = rig.world->now();
    auto const served_by = spread(db, 3);
    CHECK(rig.world->now() - before < 2s);
    CHECK_FALSE(served_by.contains(name));
    rig[name].is_hung = false;
    rig.advance(60s);
    spread(db, 30);
    rig.advance(10s);
  }
}

TEST_CASE("when all replicas are down the primary serves, and takes the replicas back when they return") {
  Rig rig{2};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  rig["replica-1"].is_running = rig["replica-2"].is_running = false;
  rig.advance(1s);
  CHECK(spread(db, 20) == std::map<std::string, int>{{"primary", 20}});
  rig["replica-1"].is_running = rig["replica-2"].is_running = true;
  rig.advance(60s);
  CHECK(spread(db, 20) == std::map<std::string, int>{{"replica-1", 10}, {"replica-2", 10}});
}

TEST_CASE("a replica that returns takes its share gradually") {
  Rig rig{2};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  rig["replica-2"].is_running = false;
  ++rig["replica-2"].generation;
  spread(db, 4);
  rig.advance(100ms);
  REQUIRE(db.status().nodes[2].health == Health::down);
  rig["replica-2"].is_running = true;
  while (db.status().nodes[2].health != Health::up) {
    rig.advance(1ms);
  }
  auto const early = spread(db, 400);
  rig.advance(5s);
  auto const late = spread(db, 400);
  CHECK(early.at("replica-1") > 300);
  CHECK(late.at("replica-1") <= 201);
  CHECK(late.at("replica-2") >= 199);
}

TEST_CASE("a session always sees its own write, and a replica serves it once proven") {
  Rig rig{2};
  rig["replica-1"].delay = 300ms;
  rig["replica-2"].delay = 2ms;
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(2s);
  std::map<std::string, int> served;
  for (int i = 0; i < 200; ++i) {
    auto session = db.session();
    session.write([](sim::WriteTransaction& tx) { tx.insert(); });
    auto const written = rig["primary"].position;
    rig.advance(1ms * (i % 40));
    session.read([&](sim::ReadTransaction& tx) {
      CHECK(tx.select() >= written);
      ++served[tx.node()];
    });
  }
  CHECK(served["replica-2"] > 150);
  CHECK(served["replica-1"] < 20);
}

TEST_CASE("other sessions are not pinned by one session's write") {
  Rig rig{1};
  rig["replica-1"].is_paused = true;
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(1s);
  auto writer = db.session();
  auto reader = db.session();
  writer.write([](sim::WriteTransaction& tx) { tx.insert(); });
  CHECK(writer.read([](sim::ReadTransaction& tx) { return tx.node(); }) == "primary");
  CHECK(reader.read([](sim::ReadTransaction& tx) { return tx.node(); }) == "replica-1");
}

TEST_CASE("a token carries a session's position to another router") {
  Rig rig{1};
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  auto elsewhere = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(1s);
  rig["replica-1"].is_paused = true;
  db.write([](sim::WriteTransaction& tx) { tx.insert(); });
  auto const token = db.token();
  REQUIRE_FALSE(token.empty());
  auto session = elsewhere.session(token);
  CHECK(session.read([](sim::ReadTransaction& tx) { return tx.node(); }) == "primary");
  CHECK(elsewhere.read([](sim::ReadTransaction& tx) { return tx.node(); }) == "replica-1");
  rig["replica-1"].is_paused = false;
  rig.advance(1s);
  CHECK(session.read([](sim::ReadTransaction& tx) { return tx.node(); }) == "replica-1");
}

TEST_CASE("observe tells what it made of a token and ignores what is wrong") {
  Rig rig{1};
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(1s);
  auto const is_unpinned = [&] { return db.read([](sim::ReadTransaction& tx) { return tx.node(); }) == "replica-1"; };
  CHECK(db.observe("") == TokenVerdict::empty);
  CHECK(db.observe("nonsense") == TokenVerdict::malformed);
  CHECK(db.observe(Token{8'000, 1, Lsn{0x1000'0000}}.text()) == TokenVerdict::of_another_cluster);
  CHECK(db.observe(Token{7'000, 1, Lsn{0x5000'0000}}.text()) == TokenVerdict::ahead_of_primary);
  CHECK(is_unpinned());
  CHECK(db.observe(Token{7'000, 1, Lsn{0x1000'0000}}.text()) == TokenVerdict::accepted);
  CHECK(db.token() == Token{7'000, 1, Lsn{0x1000'0000}}.text());
}

TEST_CASE("a commit whose position was not captured is seen all the same, and gives a token") {
  Rig rig{1};
  rig.options.capture_tokens = CaptureTokens::off;
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(1s);
  for (int i = 0; i < 50; ++i) {
    db.write([](sim::WriteTransaction& tx) { tx.insert(); });
    auto const written = rig["primary"].position;
    CHECK(db.read([](sim::ReadTransaction& tx) { return tx.select(); }) >= written);
    auto const token = Token::parse(db.token());
    REQUIRE(token);
    CHECK(token->lsn >= written);
    rig.advance(7ms);
  }
}

TEST_CASE("promotion: writes follow, the old primary is fenced when it returns") {
  Rig rig{2};
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(1s);
  db.write([](sim::WriteTransaction& tx) { tx.insert(); });
  auto const old_token = db.token();
  rig.advance(50ms);
  rig["primary"].is_running = false;
  ++rig["primary"].generation;
  rig.advance(300ms);
  CHECK_THROWS_AS(db.write(WriteOptions{.deadline = 200ms}, [](sim::WriteTransaction& tx) { tx.insert(); }),
                  NoPrimaryAvailable);
  rig["replica-1"].is_in_recovery = false;
  rig["replica-1"].timeline = 2;
  rig["replica-2"].timeline = 2;
  CHECK(db.write([](sim::WriteTransaction& tx) { return tx.insert(), tx.node(); }) == "replica-1");
  CHECK(db.observe(old_token) == TokenVerdict::before_failover);
  rig["primary"].is_running = true;
  rig.advance(60s);
  CHECK(db.write([](sim::WriteTransaction& tx) { return tx.insert(), tx.node(); }) == "replica-1");
  CHECK(db.status().nodes[0].role == Role::fenced);
}

TEST_CASE("two writable nodes of the same timeline: writes are refused with the reason") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  rig["replica-1"].is_in_recovery = false;
  rig.advance(3s);  // nobody asks, so probing is slow
  REQUIRE_THROWS_AS(db.write(WriteOptions{.deadline = 100ms}, [](sim::WriteTransaction&) {}), NoPrimaryAvailable);
  try {
    db.write(WriteOptions{.deadline = 100ms}, [](sim::WriteTransaction&) {});
  } catch (NoPrimaryAvailable const& error) {
    CHECK(std::string{error.what()}.find("same timeline") != std::string::npos);
  }
}

TEST_CASE("a replica of another cluster is quarantined") {
  Rig rig{2};
  rig["replica-2"].system_identifier = 9'999;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  CHECK(spread(db, 10) == std::map<std::string, int>{{"replica-1", 10}});
  CHECK(db.status().nodes[2].role == Role::foreign);
}

TEST_CASE("max_lag keeps a replica out that is too far behind, and on_unmet decides what then") {
  Rig rig{1};
  rig.options.max_lag = 2s;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  rig["replica-1"].is_paused = true;
  for (int i = 0; i < 50; ++i) {
    rig.world->write("primary");
    rig.advance(100ms);
    spread(db, 1);
  }
  CHECK(spread(db, 1) == std::map<std::string, int>{{"primary", 1}});
  CHECK_THROWS_AS(db.read(ReadOptions{.on_unmet = OnUnmet::fail}, [](sim::ReadTransaction&) {}), FreshnessUnmet);
  CHECK(db.read(ReadOptions{.on_unmet = OnUnmet::serve_stale}, [](sim::ReadTransaction& tx) { return tx.node(); }) ==
        "replica-1");
}

TEST_CASE("a read may wait for a replica that is about to be fresh enough") {
  Rig rig{1};
  rig["replica-1"].delay = 60ms;
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(1s);
  db.write([](sim::WriteTransaction& tx) { tx.insert(); });
  auto const before = rig.world->now();
  CHECK(db.read(ReadOptions{.wait_up_to = 500ms}, [](sim::ReadTransaction& tx) { return tx.node(); }) == "replica-1");
  CHECK(rig.world->now() - before < 150ms);
}

TEST_CASE("a read waits for as long as the replica's rate of replay says, or not at all where that is too long") {
  Rig rig{1};
  auto db = rig.router(StickyAfterWrite{RoundRobin{}});
  rig.advance(1s);
  rig["replica-1"].bytes_per_ms = 1'000;
  rig.world->write("primary", 1'000'000);  // a second of replaying
  rig.advance(600ms);
  db.write([](sim::WriteTransaction& tx) { tx.insert(); });
  auto const before = rig.world->now();
  auto const wait = [&](std::chrono::milliseconds up_to) {
    return db.read(ReadOptions{.wait_up_to = up_to}, [](sim::ReadTransaction& tx) { return tx.node(); });
  };
  SECTION("the budget is too short: the primary serves at once") {
    CHECK(wait(200ms) == "primary");
    CHECK(rig.world->now() - before < 50ms);
  }
  SECTION("the budget is enough: the replica serves as soon as it is there, and is asked a few times only") {
    auto const connects = rig["replica-1"].connects;
    CHECK(wait(2s) == "replica-1");
    CHECK(rig.world->now() - before >= 400ms);
    CHECK(rig.world->now() - before < 450ms);
    CHECK(rig["replica-1"].connects <= connects + 1);
  }
  SECTION("a replica that stands still is waited for: nobody knows how long it will take") {
    rig["replica-1"].is_paused = true;
    rig.advance(600ms);
    auto const paused = rig.world->now();
    CHECK(wait(200ms) == "primary");
    CHECK(rig.world->now() - paused >= 200ms);
  }
}

TEST_CASE("a session has defaults of its own, which a read overrides and another session does not have") {
  Rig rig{1};
  rig["replica-1"].is_paused = true;
  rig.options.on_unmet = OnUnmet::serve_stale;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  rig.world->write("primary");
  rig.advance(1s);
  auto const node = [](sim::ReadTransaction& tx) { return tx.node(); };
  auto strict = db.session({.max_staleness = 500ms, .on_unmet = OnUnmet::fail});
  CHECK_THROWS_AS(strict.read(node), FreshnessUnmet);
  CHECK_THROWS_AS(strict.read(), FreshnessUnmet);
  CHECK(strict.explain().chosen.empty());
  CHECK(strict.read({.on_unmet = OnUnmet::primary}, node) == "primary");
  CHECK(strict.read({.max_staleness = 1h}, node) == "replica-1");
  CHECK(db.read({.max_staleness = 500ms}, node) == "replica-1");  // the router's default: serve_stale
  CHECK(strict.session().read(node) == "replica-1");
  CHECK_THROWS_AS(db.session({.wait_up_to = -1ms}), ConfigError);

  db.write([](sim::WriteTransaction& tx) { tx.insert(); });
  auto with_token = db.session(db.token(), {.on_unmet = OnUnmet::primary});
  CHECK(with_token.read(node) == "replica-1");  // round-robin asks for no token
  CHECK(db.session({.at_least = Token::parse(db.token()), .on_unmet = OnUnmet::primary}).read(node) == "primary");
}

TEST_CASE("monotonic reads hold when the first replica dies between two reads") {
  Rig rig{2};
  rig.options.monotonic_reads = MonotonicReads::on;
  rig["replica-2"].is_paused = true;
  auto db = rig.router(OnlyPrimary{});
  auto routed = rig.router(RoundRobin{});
  rig.advance(1s);
  for (int i = 0; i < 20; ++i) {
    rig.world->write("primary");
    rig.advance(10ms);
  }
  auto session = routed.session();
  Lsn seen;
  for (int i = 0; i < 50; ++i) {
    if (i == 20) {
      rig["replica-1"].is_running = false;
    }
    session.read([&](sim::ReadTransaction& tx) {
      CHECK(tx.select() >= seen);
      seen = tx.select();
    });
    rig.advance(5ms);
  }
}

TEST_CASE("with the pool exhausted a read inside a read is told that its own thread holds the lease") {
  Rig rig{1};
  rig.options.max_connections = 1;
  rig.options.reserved_for_writes = 0;
  rig.options.acquire_timeout = 200ms;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  auto const outer = db.read();
  try {
    auto const inner = db.read();
    FAIL("the second lease was given");
  } catch (PoolTimeout const& error) {
    CHECK(std::string{error.what()}.find("this thread already holds 1") != std::string::npos);
    CHECK(std::string{error.what()}.find("replica-1") != std::string::npos);
  }
}

TEST_CASE("reads that fall back to the primary never take the connections reserved for writes") {
  Rig rig{0};
  rig.options.max_connections = 4;
  rig.options.reserved_for_writes = 1;
  rig.options.acquire_timeout = 100ms;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  std::vector<decltype(db.read())> leases;
  for (int i = 0; i < 3; ++i) {
    leases.push_back(db.read());
  }
  CHECK_THROWS_AS(db.read(), PoolTimeout);
  db.write([](sim::WriteTransaction& tx) { tx.insert(); });
  CHECK(rig["primary"].most_connections == 4);
}

TEST_CASE("errors of the user's pass through once, and the connection is usable afterwards") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  spread(db, 1);
  int calls = 0;
  CHECK_THROWS_AS(db.read([&](sim::ReadTransaction&) -> int {
    ++calls;
    throw std::out_of_range{"mine"};
  }),
                  std::out_of_range);
  CHECK_THROWS_AS(db.write([&](sim::WriteTransaction&) -> int {
    ++calls;
    throw std::out_of_range{"mine"};
  }),
                  std::out_of_range);
  rig["replica-1"].failures = 1;
  rig["replica-1"].next_failure = Failure::statement;
  CHECK_THROWS_AS(db.read([&](sim::ReadTransaction& tx) {
    ++calls;
    tx.select();
  }),
                  sim::SimulatedError);
  CHECK(calls == 3);
  CHECK(spread(db, 5).at("replica-1") == 5);
  CHECK(rig["replica-1"].connects == 1);
}

TEST_CASE("a recovery conflict runs the read elsewhere and says nothing against the replica") {
  Rig rig{2};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  spread(db, 2);
  rig["replica-1"].failures = rig["replica-2"].failures = 1;
  rig["replica-1"].next_failure = rig["replica-2"].next_failure = Failure::serialization;
  CHECK(db.read([](sim::ReadTransaction& tx) { return tx.select(), tx.node(); }) == "primary");
  CHECK(db.status().nodes[1].conflicts + db.status().nodes[2].conflicts == 2);
  CHECK(db.status().nodes[1].health == Health::up);
  CHECK(spread(db, 4).size() == 2);
}

TEST_CASE("a write is run again when its connection was lost before COMMIT, and told its attempt") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  std::vector<int> attempts;
  db.write([&](sim::WriteTransaction& tx, int attempt) {
    attempts.push_back(attempt);
    if (attempt == 1) {
      rig["primary"].failures = 1;
      rig["primary"].next_failure = Failure::connection_lost;
    }
    tx.insert();
  });
  CHECK(attempts == std::vector{1, 2});
}

TEST_CASE("a serialization failure of a write is retried only as often as asked") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  int calls = 0;
  auto const conflicting = [&](sim::WriteTransaction& tx) {
    ++calls;
    rig["primary"].failures = 1;
    rig["primary"].next_failure = Failure::serialization;
    tx.insert();
  };
  CHECK_THROWS_AS(db.write(conflicting), sim::SimulatedError);
  CHECK(calls == 1);
  CHECK_THROWS_AS(db.write(WriteOptions{.max_attempts = 3}, conflicting), sim::SimulatedError);
  CHECK(calls == 4);
}

TEST_CASE("leases that were moved from or ended say so") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  auto read = db.read();
  auto const moved_read = std::move(read);
  CHECK_THROWS_AS(*read, UsageError);  // NOLINT(bugprone-use-after-move): the point of the test
  CHECK(moved_read.served_by() == "replica-1");
  auto write = db.write();
  write->insert();
  write.commit();
  CHECK_THROWS_AS(write.commit(), UsageError);
  CHECK_THROWS_AS(write->insert(), UsageError);
  auto second = db.write();
  auto moved_write = std::move(second);
  CHECK_THROWS_AS(second.commit(), UsageError);  // NOLINT(bugprone-use-after-move): the point of the test
  moved_write.commit();
}

TEST_CASE("a policy's index out of range is a usage error, its silence means the primary") {
  Rig rig{1};
  auto wrong = rig.router(OutOfRange{});
  auto silent = rig.router(OnlyPrimary{});
  rig.advance(1s);
  CHECK_THROWS_AS(wrong.read(), UsageError);
  CHECK(silent.read().served_by() == "primary");
}

TEST_CASE("a statement that a replica cannot prepare yet sends the read on; one the primary refuses is told") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  db.prepare("photo", "SELECT 1");
  CHECK_THROWS_AS(db.prepare("photo", "SELECT 2"), ConfigError);
  db.prepare("photo", "SELECT 1");
  rig["replica-1"].refused_prepares = 1;
  CHECK(db.read().served_by() == "primary");
  CHECK(db.read().served_by() == "replica-1");
  db.prepare("other", "SELECT 3");
  rig["replica-1"].refused_prepares = rig["primary"].refused_prepares = 9;
  CHECK_THROWS_AS(db.read(), sim::SimulatedError);
}

TEST_CASE("replicas are added and removed at run time") {
  Rig rig{1};
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  CHECK_THROWS_AS(db.add_replica(named("replica-1")), ConfigError);
  rig["replica-2"].is_in_recovery = true;
  db.add_replica(named("replica-2"));
  rig.advance(1s);
  CHECK(spread(db, 10) == std::map<std::string, int>{{"replica-1", 5}, {"replica-2", 5}});
  {
    auto const held = db.read();
    db.remove_replica(held.served_by());
    CHECK(db.status().nodes.size() == 2);
  }
  CHECK(spread(db, 10).size() == 1);
  CHECK_THROWS_AS(db.remove_replica("replica-9"), ConfigError);
  rig.advance(1s);
  CHECK(rig["replica-1"].open_connections + rig["replica-2"].open_connections == 1);
}

TEST_CASE("an observer is told of routes, retries, fallbacks, changes of nodes and failovers") {
  Rig rig{2};
  auto const scribe = std::make_shared<Scribe>();
  rig.options.observer = scribe;
  // The router waits for the observer at its end: what happened until then was told.
  auto const told_of = [&](auto&& happening) {
    {
      auto db = rig.router(StickyAfterWrite{RoundRobin{}});
      rig.advance(1s);
      happening(db);
    }
    return scribe->told();
  };
  auto const read = [](sim::ReadTransaction& tx) { tx.select(); };
  auto const has = [](std::vector<std::string> const& lines, std::string const& line) {
    return std::count(lines.begin(), lines.end(), line);
  };
  SECTION("nodes that are heard of, reads and writes, the primary because nothing is proven") {
    auto const lines = told_of([&](auto& db) {
      db.read(read);
      rig["replica-1"].is_paused = rig["replica-2"].is_paused = true;
      db.write([](sim::WriteTransaction& tx) { tx.insert(); });
      db.read(read);
    });
    CHECK(has(lines, "primary: unknown unknown -> up primary") == 1);
    CHECK(has(lines, "replica-2: unknown unknown -> up replica") == 1);
    CHECK(has(lines, "read on replica-1") + has(lines, "read on replica-2") == 1);
    CHECK(has(lines, "write on primary") == 1);
    CHECK(has(lines, "fallback to primary: no replica is proven to meet the contract") == 1);
    CHECK(has(lines, "read on primary") == 1);
  }
  SECTION("a node that fails a read, goes down, and leaves only the primary") {
    auto const lines = told_of([&](auto& db) {
      spread(db, 2);  // a connection to each
      rig["replica-1"].is_running = rig["replica-2"].is_running = false;
      db.read(read);
      rig.advance(1s);
      db.read(read);
      CHECK(db.status().retries == 2);
      CHECK(db.status().fallbacks == 2);
    });
    CHECK(std::count_if(lines.begin(), lines.end(),
                        [](auto const& line) { return line.starts_with("retry after replica-"); }) == 2);
    CHECK(has(lines, "replica-1: up replica -> down replica, connection refused") == 1);
    CHECK(has(lines, "fallback to primary: no replica can be used") == 2);
  }
  SECTION("a failover, with the time that no primary was known") {
    auto const lines = told_of([&](auto&) {
      rig["primary"].is_running = false;
      rig.advance(3s);
      rig["replica-2"].is_in_recovery = false;
      rig["replica-2"].timeline = 2;
      rig.advance(3s);
    });
    CHECK(has(lines, "failover from primary 1 to replica-2 2") == 1);
    CHECK(scribe->without_primary > 1s);
    CHECK(scribe->without_primary < 5s);
  }
  SECTION("a serialization failure that is run again") {
    auto const lines = told_of([&](auto& db) {
      db.write({.max_attempts = 2}, [&](sim::WriteTransaction& tx, int attempt) {
        rig["primary"].next_failure = Failure::serialization;
        rig["primary"].failures = attempt == 1 ? 1 : 0;
        tx.insert();
      });
    });
    CHECK(std::count_if(lines.begin(), lines.end(),
                        [](auto const& line) { return line.starts_with("retry after primary: "); }) == 1);
    CHECK(has(lines, "write on primary") == 2);
  }
}

TEST_CASE("a lease keeps the router's nodes alive until it ends, and nothing afterwards") {
  Rig rig;
  auto const alone = rig.world.use_count();
  auto db = std::make_unique<ReplicaRouter<RoundRobin, sim::Backend>>(rig.router(RoundRobin{}));
  rig.advance(1s);
  auto read = db->read();
  auto other_read = db->read();
  auto write = db->write();
  db.reset();
  CHECK(read->select() >= Lsn{});
  CHECK(rig.world.use_count() > alone);
  read.end();
  other_read = std::move(read);  // what it held goes at once
  CHECK(rig.world.use_count() > alone);
  write.commit();
  CHECK(rig.world.use_count() == alone);
}

TEST_CASE("a session outlives the router it came from") {
  Rig rig{1};
  auto db = std::make_unique<ReplicaRouter<RoundRobin, sim::Backend>>(rig.router(RoundRobin{}));
  rig.advance(1s);
  auto session = db->session();
  auto lease = db->read();
  db.reset();
  CHECK(lease->select() >= Lsn{});
  lease.end();
  CHECK(session.read([](sim::ReadTransaction& tx) { return tx.node(); }) == "replica-1");
}

TEST_CASE("explain names the node and says of every other why not") {
  Rig rig{2};
  rig.options.max_lag = 1s;
  auto db = rig.router(RoundRobin{});
  rig.advance(1s);
  rig["replica-2"].is_paused = true;
  for (int i = 0; i < 40; ++i) {
    rig.world->write("primary");
    rig.advance(100ms);
    spread(db, 1);
  }
  auto const why = db.explain();
  CHECK(why.chosen == "replica-1");
  REQUIRE(why.nodes.size() == 3);
  CHECK(why.nodes[2].verdict == Verdict::behind_max_lag);
  CHECK(why.nodes[2].text().find("s behind, max_lag is 1.0 s") != std::string::npos);
}

TEST_CASE("the proven staleness bound is never less than the true staleness") {
  Rig rig{3};
  auto db = rig.router(RoundRobin{});
  std::uint64_t seed = 7;
  auto const draw = [&](std::uint64_t below) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (seed >> 33U) % below;
  };
  int checks = 0;
  for (int i = 0; i < 3'000; ++i) {
    auto& replica = rig["replica-" + std::to_string(1 + draw(3))];
    switch (draw(5)) {
      case 0: replica.is_paused = true; break;
      case 1: replica.is_paused = false; break;
      case 2: replica.delay = 1ms * draw(400); break;
      default: rig.world->write("primary"); break;
    }
    rig.advance(1ms * draw(30));
    auto lease = db.read();
    if (lease.served_by() != "primary" && lease.staleness() != Duration::max()) {
      ++checks;
      CHECK(lease->select() >= rig.world->written_before(rig.world->now() - lease.staleness()));
    }
  }
  CHECK(checks > 1'000);
}
