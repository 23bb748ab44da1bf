#include "replica_router/postgres/write_transaction.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <memory>
#include <string>
#include <utility>

#include "cluster_options.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

testing::Cluster& shared_cluster() {
  static testing::Cluster cluster{{.replicas = 1}};
  static bool const is_filled = [] {
    cluster.primary().execute("CREATE TABLE account(id int PRIMARY KEY, balance int CHECK (balance >= 0))");
    cluster.primary().execute(
        "CREATE TABLE entry(id int UNIQUE DEFERRABLE INITIALLY DEFERRED, account int REFERENCES account DEFERRABLE "
        "INITIALLY "
        "DEFERRED)");
    cluster.wait_until_caught_up();
    return true;
  }();
  static_cast<void>(is_filled);
  return cluster;
}

PqxxConnection<> connection_to(ClusterNode& node, std::string const& more = {}) {
  PqxxBackend const backend;
  return PqxxConnection<>{
      connect_until(backend.address_of(Endpoint{node.conninfo() + more}), backend.now() + 5s, [] { return false; })};
}

/// As the pool opens it for writes.
std::unique_ptr<PqxxConnection<>> write_connection_to(ClusterNode& node) {
  PqxxBackend const backend;
  return backend.connect(backend.address_of(Endpoint{node.conninfo()}), Access::read_write, backend.now() + 5s,
                         [] { return false; });
}

}  // namespace

TEST_CASE("a commit brings home a position at or past the commit, without a further round trip") {
  auto& primary = shared_cluster().primary();
  auto connection = connection_to(primary);
  auto const before = connection.inserted();
  auto& tx = connection.begin_write({}, CommitPosition::captured);
  tx.exec("INSERT INTO account VALUES (1, 10)");
  tx.commit();
  REQUIRE(tx.commit_lsn());
  CHECK(*tx.commit_lsn() > before);
  auto const lsn = *tx.commit_lsn();
  connection.end();
  CHECK(connection.inserted() >= lsn);
  CHECK(connection.is_reusable());
}

TEST_CASE("without capture there is no position, and the commit stands all the same") {
  auto connection = connection_to(shared_cluster().primary());
  auto& tx = connection.begin_write({}, CommitPosition::not_captured);
  tx.exec("INSERT INTO account VALUES (2, 10)");
  tx.commit();
  CHECK(tx.is_committed());
  CHECK_FALSE(tx.commit_lsn());
}

TEST_CASE("a commit whose position is refused is a commit all the same") {
  auto& primary = shared_cluster().primary();
  primary.execute("CREATE ROLE restricted LOGIN");
  primary.execute("GRANT ALL ON account TO restricted");
  primary.execute("REVOKE EXECUTE ON FUNCTION pg_current_wal_insert_lsn() FROM PUBLIC");
  auto connection = connection_to(primary, " user=restricted");
  auto& tx = connection.begin_write({}, CommitPosition::captured);
  tx.exec("INSERT INTO account VALUES (3, 10)");
  tx.commit();
  primary.execute("GRANT EXECUTE ON FUNCTION pg_current_wal_insert_lsn() TO PUBLIC");
  CHECK(tx.is_committed());
  CHECK_FALSE(tx.commit_lsn());
  connection.end();
  CHECK(connection.is_reusable());
  CHECK(primary.query("SELECT count(*) FROM account WHERE id = 3") == "1");
}

TEST_CASE("a transaction whose error was swallowed does not commit silently, and gives no position") {
  auto connection = connection_to(shared_cluster().primary());
  auto& tx = connection.begin_write({}, CommitPosition::captured);
  tx.exec("INSERT INTO account VALUES (4, 10)");
  CHECK_THROWS_AS(tx.exec("INSERT INTO account VALUES (4, -1)"), pqxx::sql_error);
  CHECK_THROWS_AS(tx.commit(), TransactionRolledBack);
  CHECK_FALSE(tx.is_committed());
  CHECK_FALSE(tx.commit_lsn());
  connection.end();
  CHECK(connection.is_reusable());
  CHECK(shared_cluster().primary().query("SELECT count(*) FROM account WHERE id = 4") == "0");
}

TEST_CASE("a deferred constraint that fails at COMMIT arrives as libpqxx's own error") {
  auto connection = connection_to(shared_cluster().primary());
  {
    auto& tx = connection.begin_write({}, CommitPosition::captured);
    tx.exec("INSERT INTO entry VALUES (1, 999)");
    CHECK_THROWS_AS(tx.commit(), pqxx::foreign_key_violation);
    CHECK_FALSE(tx.commit_lsn());
    connection.end();
  }
  auto& tx = connection.begin_write({}, CommitPosition::captured);
  tx.exec("INSERT INTO entry VALUES (1, NULL), (1, NULL)");
  CHECK_THROWS_AS(tx.commit(), pqxx::unique_violation);
  connection.end();
  CHECK(connection.is_reusable());
}

TEST_CASE("a transaction that was ended by a statement has nothing to commit") {
  auto connection = connection_to(shared_cluster().primary());
  auto& tx = connection.begin_write({}, CommitPosition::captured);
  tx.exec("ROLLBACK");
  CHECK_THROWS_AS(tx.commit(), UsageError);
}

TEST_CASE("the fence: a standby refuses a write before any statement of the user's") {
  auto connection = connection_to(shared_cluster().replica(0));
  CHECK_THROWS_AS(connection.begin_write({}, CommitPosition::captured), WriteFenced);
  CHECK_THROWS_AS(connection.begin_write({.isolation = Isolation::serializable}, CommitPosition::captured),
                  WriteFenced);
  CHECK(connection.is_reusable());

  auto const for_writes = write_connection_to(shared_cluster().replica(0));
  CHECK_THROWS_AS(for_writes->begin_write({}, CommitPosition::captured), WriteFenced);
}

TEST_CASE("BEGIN says READ WRITE where the connection may be to a standby, and nowhere else") {
  testing::Cluster cluster{{.replicas = 1}};
  auto& promoted = cluster.replica(0);
  auto const begins_with = [](ClusterNode& node, PqxxConnection<>& connection) {
    auto const pid = connection.begin_read(ReadMode::autocommit).query_value<std::string>("SELECT pg_backend_pid()");
    connection.end();
    auto& tx = connection.begin_write({}, CommitPosition::captured);
    auto const begun = node.query("SELECT query FROM pg_stat_activity WHERE pid = " + pid);
    CHECK(tx.query_value<std::string>("SHOW transaction_read_only") == "off");
    connection.end();
    return begun;
  };
  auto const of_primary = write_connection_to(cluster.primary());
  CHECK(begins_with(cluster.primary(), *of_primary) == "BEGIN");
  auto for_reads = connection_to(cluster.primary());
  CHECK(begins_with(cluster.primary(), for_reads) == "BEGIN READ WRITE");

  auto const of_standby = write_connection_to(promoted);
  CHECK_THROWS_AS(of_standby->begin_write({}, CommitPosition::captured), WriteFenced);
  promoted.promote();
  eventually("the standby is promoted", 20s, [&] { return promoted.query("SELECT pg_is_in_recovery()") == "f"; });
  CHECK(begins_with(promoted, *of_standby) == "BEGIN READ WRITE");
  auto const of_promoted = write_connection_to(promoted);
  CHECK(begins_with(promoted, *of_promoted) == "BEGIN");
}

TEST_CASE("a connection lost before COMMIT is no doubt, one lost with COMMIT under way is") {
  auto& primary = shared_cluster().primary();
  auto connection = connection_to(primary);
  auto& tx = connection.begin_write({}, CommitPosition::captured);
  auto const pid = tx.query_value<int>("SELECT pg_backend_pid()");
  primary.execute("SELECT pg_terminate_backend(" + std::to_string(pid) + ", 5000)");
  CHECK_THROWS_AS(tx.exec("SELECT 1"), pqxx::broken_connection);
  CHECK(connection.is_lost());
  CHECK_THROWS_AS(tx.commit(), pqxx::broken_connection);
  CHECK_FALSE(tx.is_in_doubt());

  auto second = connection_to(primary);
  auto& doubtful = second.begin_write({}, CommitPosition::captured);
  auto const second_pid = doubtful.query_value<int>("SELECT pg_backend_pid()");
  doubtful.exec("INSERT INTO account VALUES (5, 10)");
  primary.execute("SELECT pg_terminate_backend(" + std::to_string(second_pid) + ", 5000)");
  CHECK_THROWS_AS(doubtful.commit(), CommitInDoubt);  // libpq does not know yet that the server is gone
  CHECK(doubtful.is_in_doubt());
}

TEST_CASE("isolation levels arrive at the server") {
  auto connection = connection_to(shared_cluster().primary());
  for (auto const& [isolation, name] :
       {std::pair{Isolation::read_committed, "read committed"},
        std::pair{Isolation::repeatable_read, "repeatable read"}, std::pair{Isolation::serializable, "serializable"}}) {
    auto& tx = connection.begin_write({.isolation = isolation}, CommitPosition::not_captured);
    CHECK(tx.query_value<std::string>("SHOW transaction_isolation") == name);
    CHECK(tx.query_value<std::string>("SHOW transaction_read_only") == "off");
    connection.end();
  }
}

TEST_CASE("exactly_once takes the transaction's mark, and the server tells what became of it") {
  auto connection = connection_to(shared_cluster().primary());
  auto& committed = connection.begin_write({.exactly_once = true}, CommitPosition::captured);
  auto const committed_mark = committed.mark();
  committed.commit();
  connection.end();
  auto& aborted = connection.begin_write({.exactly_once = true}, CommitPosition::captured);
  auto const aborted_mark = aborted.mark();
  CHECK(connection_to(shared_cluster().primary()).outcome_of(aborted_mark) == Settlement::in_progress);
  connection.end();
  REQUIRE(committed_mark.id != 0);
  REQUIRE(committed_mark.flushed);
  CHECK(connection.outcome_of(committed_mark) == Settlement::committed);
  CHECK(connection.outcome_of(aborted_mark) == Settlement::aborted);
  shared_cluster().primary().execute("CHECKPOINT");
  CHECK(connection.outcome_of(committed_mark) == Settlement::unknown);  // a crash might have come before it
  CHECK(connection.outcome_of(aborted_mark) == Settlement::aborted);
  CHECK(connection.begin_write({}, CommitPosition::captured).mark().id == 0);
}

TEST_CASE("an id that a crash forgot and gave to another transaction is not taken for the first one's") {
  testing::Cluster cluster{{.replicas = 0}};
  auto& primary = cluster.primary();
  primary.execute("CREATE TABLE entry(id int)");
  TransactionMark lost;
  TransactionMark survived;
  {
    auto first = connection_to(primary);
    auto& durable = first.begin_write({.exactly_once = true}, CommitPosition::captured);
    durable.exec("INSERT INTO entry VALUES (1)");
    survived = durable.mark();
    durable.commit();
    auto second = connection_to(primary);
    auto& under_way = second.begin_write({.exactly_once = true}, CommitPosition::captured);
    under_way.exec("INSERT INTO entry VALUES (2)");
    lost = under_way.mark();
    primary.kill();  // nothing of the second was flushed
  }
  primary.start();
  auto connection = connection_to(primary);
  CHECK(connection.outcome_of(lost) == Settlement::aborted);  // as yet an id of the future
  CHECK(connection.outcome_of(survived) == Settlement::committed);
  std::uint64_t given_out = 0;
  while (given_out < lost.id) {
    auto& other = connection.begin_write({.exactly_once = true}, CommitPosition::captured);
    other.exec("INSERT INTO entry VALUES (3)");
    given_out = other.mark().id;
    other.commit();
    connection.end();
  }
  REQUIRE(given_out == lost.id);  // the server does give it out again
  REQUIRE(primary.query("SELECT pg_xact_status('" + std::to_string(lost.id) + "')") == "committed");
  CHECK(connection.outcome_of(lost) == Settlement::aborted);
  CHECK(connection.outcome_of(survived) == Settlement::committed);
  primary.execute("CHECKPOINT");
  CHECK(connection.outcome_of(lost) == Settlement::unknown);
}

TEST_CASE("the position comes home also after the user has dropped all prepared statements") {
  auto connection = connection_to(shared_cluster().primary());
  auto const commit = [&](char const* sql) {
    auto& tx = connection.begin_write({}, CommitPosition::captured);
    tx.exec(sql);
    tx.commit();
    auto const lsn = tx.commit_lsn();
    connection.end();
    return lsn;
  };
  CHECK(commit("SELECT 1"));
  CHECK(commit("SELECT 1"));
  CHECK_FALSE(commit("DEALLOCATE ALL"));  // committed all the same; the session waits for a sample of the primary
  CHECK(commit("SELECT 1"));
  CHECK(commit("SELECT 1"));
  connection.begin_write({}, CommitPosition::not_captured).exec("DEALLOCATE ALL");
  connection.end();
  connection.begin_write({}, CommitPosition::not_captured)
      .exec("PREPARE replica_router_position AS SELECT '0/1'::pg_lsn");
  connection.end();
  CHECK(commit(
      "DEALLOCATE replica_router_position; PREPARE replica_router_position AS SELECT pg_current_wal_insert_lsn()"));
}
