#include <array>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <mutex>
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

/// Runs a function on so many threads, with the thread's number; the first error of any is thrown on.
template <class Function>
void on_threads(int threads, Function const& run) {
  std::vector<std::thread> all;
  std::mutex mutex;
  std::exception_ptr first;
  for (int number = 0; number < threads; ++number) {
    all.emplace_back([&, number] {
      try {
        run(number);
      } catch (...) {
        std::lock_guard const guard{mutex};
        first = first ? first : std::current_exception();
      }
    });
  }
  for (auto& thread : all) {
    thread.join();
  }
  if (first) {
    std::rethrow_exception(first);
  }
}

/// How often an error of that kind came of it, and of that kind only.
template <class Wanted, class Call>
int count_thrown(int times, Call const& call) {
  int thrown = 0;
  for (int i = 0; i < times; ++i) {
    try {
      call();
    } catch (Wanted const&) {
      ++thrown;
    }
  }
  return thrown;
}

}  // namespace

TEST_CASE("statement timeouts, syntax errors and constraint violations by the thousand eject no node") {
  testing::Cluster cluster{{.replicas = 2}};
  create_entries(cluster);
  cluster.primary().execute("CREATE TABLE account(id int PRIMARY KEY); INSERT INTO account VALUES (1)");
  cluster.wait_until_caught_up();
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 2);
  Load load{db, {.readers = 2, .writers = 1}};
  load.mark();
  constexpr int threads = 4;
  constexpr int each = 250;
  std::atomic<int> syntax{0};
  std::atomic<int> constraint{0};
  std::atomic<int> timeout{0};
  std::atomic<int> calls{0};
  on_threads(threads, [&](int) {
    syntax += count_thrown<pqxx::syntax_error>(each, [&] {
      db.read([&](auto& tx) {
        ++calls;
        tx.exec("SELECT wrong syntax here");
      });
    });
    constraint += count_thrown<pqxx::unique_violation>(each, [&] {
      db.write([&](auto& tx) {
        ++calls;
        tx.exec("INSERT INTO account VALUES (1)");
      });
    });
    timeout += count_thrown<pqxx::sql_error>(each, [&] {
      db.read(ReadOptions{.snapshot = true}, [&](auto& tx) {
        ++calls;
        tx.exec("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(60)");
      });
    });
  });
  CHECK(syntax == threads * each);
  CHECK(constraint == threads * each);
  CHECK(timeout == threads * each);
  CHECK(calls == 3 * threads * each);  // an error of the user's own is never run again
  load.settle("statement timeouts, syntax errors, constraint violations: 3 x 1000", cluster.primary());
  auto const status = db.status();
  CHECK(status.retries == 0);
  for (auto const& node : status.nodes) {
    CHECK(node.ejections == 0);
    CHECK(node.lost == 0);
    CHECK(node.health == Health::up);
  }
}

TEST_CASE("commit of a transaction whose error was swallowed: throws, and yields no token") {
  testing::Cluster cluster{{.replicas = 1}};
  create_entries(cluster);
  cluster.primary().execute("CREATE TABLE account(id int PRIMARY KEY, owner int); INSERT INTO account VALUES (1, 0)");
  ReplicaRouter db{options_for(cluster)};
  wait_until_known(db, 1);
  Load load{db, {.readers = 2, .writers = 2}};
  load.mark();
  auto const swallow = [](pqxx::dbtransaction& tx) {
    tx.exec("INSERT INTO account VALUES (2, 7)");
    try {
      tx.exec("INSERT INTO account VALUES (1, 7)");
    } catch (pqxx::unique_violation const&) {
    }
  };
  std::atomic<int> thrown{0};
  std::atomic<int> tokens{0};
  std::atomic<int> calls{0};
  on_threads(4, [&](int number) {
    for (int i = 0; i < 50; ++i) {
      auto session = db.session();
      thrown += count_thrown<TransactionRolledBack>(1, [&] {
        if (number % 2 == 0) {
          session.write([&](auto& tx) {
            ++calls;
            swallow(tx);
          });
        } else {
          ++calls;
          auto write = session.write();
          swallow(*write);
          write.commit();
        }
      });
      tokens += session.token().empty() ? 0 : 1;
    }
  });
  CHECK(thrown == 200);
  CHECK(tokens == 0);
  CHECK(calls == 200);
  CHECK(cluster.primary().query("SELECT count(*) FROM account WHERE owner = 7") == "0");
  load.settle("commit of a transaction whose error was swallowed: 200", cluster.primary());
  CHECK(node_of(db.status(), "primary").pool.leased_to_writes == 0);
}

TEST_CASE("serialization failures and deadlocks of a write are retried as configured, and told their attempt") {
  testing::Cluster cluster{{.replicas = 1, .settings = {"deadlock_timeout = 20ms"}}};
  create_entries(cluster);
  auto& primary = cluster.primary();
  primary.execute("CREATE TABLE counter(id int PRIMARY KEY, n int); INSERT INTO counter VALUES (1, 0), (2, 0), (3, 0)");
  ReplicaRouter db{options_for(cluster), RoundRobin{}};
  wait_until_known(db, 1);
  Load load{db, {.readers = 2, .writers = 1}};
  load.mark();
  auto const counted = [&](int id) { return primary.query("SELECT n FROM counter WHERE id = " + std::to_string(id)); };

  // The first writes of all threads read before any of them updates: all but one of them have to be run again.
  constexpr int threads = 4;
  std::atomic<int> have_read{0};
  std::atomic<int> retried{0};
  std::atomic<int> miscounted{0};
  on_threads(threads, [&](int) {
    for (int i = 0; i < 25; ++i) {
      int expected = 0;
      db.write(WriteOptions{.isolation = Isolation::serializable, .max_attempts = 100, .deadline = 60s},
               [&](auto& tx, int attempt) {
                 miscounted += attempt == ++expected ? 0 : 1;
                 retried += attempt > 1 ? 1 : 0;
                 auto const n = tx.template query_value<int>("SELECT n FROM counter WHERE id = 1");
                 if (i == 0 && attempt == 1) {
                   ++have_read;
                   eventually("all have read", 30s, [&] { return have_read == threads; });
                 }
                 tx.exec("UPDATE counter SET n = $1 WHERE id = 1", pqxx::params{n + 1});
               });
    }
  });
  CHECK(counted(1) == "100");
  CHECK(retried >= threads - 1);
  CHECK(miscounted == 0);
  CHECK(db.status().retries == static_cast<std::uint64_t>(retried));

  // Two writes take two rows in opposite order, each waiting until the other has its first. Who is run again waits
  // until the other has both: it might take its row from under the other once more.
  auto const deadlock = [&](int max_attempts) {
    std::atomic<int> holding{0};
    std::atomic<bool> has_both{false};
    std::array<int, 2> attempts{};
    std::atomic<int> failed{0};
    on_threads(2, [&](int number) {
      try {
        db.write(WriteOptions{.max_attempts = max_attempts, .deadline = 60s}, [&](auto& tx, int attempt) {
          attempts[static_cast<std::size_t>(number)] = attempt;
          if (attempt > 1) {
            eventually("the other write has both rows", 30s, [&] { return has_both.load(); });
          }
          auto const update = "UPDATE counter SET n = n + 1 WHERE id = ";
          tx.exec(update + std::to_string(2 + number));
          if (attempt == 1) {
            ++holding;
            eventually("both hold a row", 30s, [&] { return holding == 2; });
          }
          tx.exec(update + std::to_string(3 - number));
          has_both = true;
        });
      } catch (pqxx::deadlock_detected const&) {
        ++failed;
      }
    });
    return std::pair{attempts[0] + attempts[1], failed.load()};
  };
  CHECK(deadlock(1) == std::pair{2, 1});  // by default it is thrown on
  CHECK(counted(2) == "1");
  CHECK(deadlock(5) == std::pair{3, 0});
  CHECK(counted(2) == "3");
  CHECK(counted(3) == "3");

  // A conflict that never ends is given up after as many attempts as were allowed.
  int last_attempt = 0;
  CHECK_THROWS_AS(
      db.write(WriteOptions{.max_attempts = 4},
               [&](auto& tx, int attempt) {
                 last_attempt = attempt;
                 // 40001 (serialization_failure)
                 tx.exec("DO $$ BEGIN RAISE EXCEPTION 'a conflict' USING ERRCODE = 'serialization_failure'; END $$");
               }),
      pqxx::serialization_failure);
  CHECK(last_attempt == 4);
  load.settle("serialization failures and deadlocks of writes", primary);
}

TEST_CASE("a connection cut after COMMIT was sent is in doubt; exactly_once settles it both ways") {
  testing::Cluster cluster{{.replicas = 1}};
  create_entries(cluster);
  auto& primary = cluster.primary();
  primary.execute("CREATE TABLE payment(id int)");
  TcpLink link{primary.port()};
  auto options = options_for(cluster);
  options.primary = through(link.port(), primary);
  options.backoff = 100ms;
  options.max_backoff = 200ms;
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 1);
  Load load{db, {.write = {.exactly_once = true, .deadline = 60s}}};
  load.wait_for(20, 10);
  load.mark();
  auto const count = [&](int id) {
    return primary.query("SELECT count(*) FROM payment WHERE id = " + std::to_string(id));
  };
  // Pays once through a link that is cut while COMMIT is under way, in the given manner. Returns how often it was run.
  auto const pay = [&](int id, LinkMode cut, WriteOptions const& demands) {
    std::atomic<bool> is_cut{false};
    std::thread mender{[&] {
      eventually("the link is cut", 30s, [&] { return is_cut.load(); });
      auto const since = std::chrono::steady_clock::now();
      eventually("COMMIT was sent", 30s, [&] {
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
    db.write(demands, [&](pqxx::dbtransaction& tx) {
      tx.exec("INSERT INTO payment VALUES ($1)", pqxx::params{id});
      if (++calls == 1) {
        link.set(cut);
        is_cut = true;
      }
    });
    return calls;
  };
  CHECK_THROWS_AS(pay(1, LinkMode::stall_answers, {.deadline = 20s}), CommitInDoubt);
  CHECK(count(1) == "1");  // it did land
  CHECK_THROWS_AS(pay(2, LinkMode::stall, {.deadline = 20s}), CommitInDoubt);
  eventually("the server has given the other one up", 10s, [&] {
    return primary.query(
               "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO payment%' "
               "AND state = 'idle in transaction'") == "0";
  });
  CHECK(count(2) == "0");  // it did not
  CHECK(pay(3, LinkMode::stall_answers, {.exactly_once = true, .deadline = 60s}) == 1);
  CHECK(count(3) == "1");
  CHECK(pay(4, LinkMode::stall, {.exactly_once = true, .deadline = 60s}) == 2);
  CHECK(count(4) == "1");
  load.wait_for(20, 10);
  load.settle("connection cut after COMMIT was sent: four times", primary);
  CHECK(load.doubts() == 0);
  CHECK(load.refusals() == std::vector<std::string>{});
}
