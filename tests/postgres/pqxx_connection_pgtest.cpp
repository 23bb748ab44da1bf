#include "replica_router/postgres/pqxx_connection.hpp"

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

#include "cluster_options.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;

namespace {

testing::Cluster& shared_cluster() {
  static testing::Cluster cluster{{.replicas = 1}};
  return cluster;
}

std::unique_ptr<PqxxConnection<>> connection_to(ClusterNode& node, Access access = Access::read_only) {
  PqxxBackend const backend;
  return backend.connect(backend.address_of(Endpoint{node.conninfo()}), access, backend.now() + 5s,
                         [] { return false; });
}

}  // namespace

TEST_CASE("an idle connection that the server ended is found unusable without a round trip") {
  auto& node = shared_cluster().primary();
  auto const connection = connection_to(node);
  CHECK(connection->is_usable());
  auto const pid = connection->begin_read(ReadMode::autocommit).query_value<std::string>("SELECT pg_backend_pid()");
  connection->end();
  CHECK(connection->is_usable());
  node.execute("SELECT pg_terminate_backend(" + pid + ", 5000)");
  eventually("the farewell has arrived", 5s, [&] { return !connection->is_usable(); });
}

TEST_CASE("a parameter that changed while the connection was idle does not make it unusable") {
  auto& node = shared_cluster().primary();
  auto const connection = connection_to(node);
  node.set("log_min_messages", "notice");
  node.set("TimeZone", "America/Lima");  // reported to every client, without being asked
  CHECK(connection->begin_read(ReadMode::autocommit).query_value<int>("SELECT 1") == 1);
  connection->end();
  CHECK(connection->is_usable());
  node.set("TimeZone", std::nullopt);
}

TEST_CASE("a session that no longer has the access it was opened with is not reused") {
  auto& cluster = shared_cluster();
  for (auto const& [node, access, before, after] : {std::tuple{&cluster.primary(), Access::read_only, "on", "off"},
                                                    std::tuple{&cluster.primary(), Access::read_write, "off", "on"},
                                                    std::tuple{&cluster.replica(0), Access::read_only, "on", "off"}}) {
    auto const connection = connection_to(*node, access);
    auto& tx = connection->begin_read(ReadMode::autocommit);
    CHECK(tx.query_value<std::string>("SHOW default_transaction_read_only") == before);
    CHECK(connection->is_reusable());
    tx.exec(std::string{"SET default_transaction_read_only = "} + after);
    connection->end();
    CHECK_FALSE(connection->is_reusable());
  }
}

TEST_CASE("the access of a session is the router's word, whatever the endpoint and the role say") {
  auto& node = shared_cluster().primary();
  node.execute("CREATE ROLE stubborn LOGIN");
  node.execute("ALTER ROLE stubborn SET default_transaction_read_only = on");
  PqxxBackend const backend;
  for (auto const& [access, word] : {std::pair{Access::read_only, "on"}, std::pair{Access::read_write, "off"}}) {
    auto const connection = backend.connect(
        backend.address_of(Endpoint{node.conninfo() +
                                    " user=stubborn options='-c default_transaction_read_only=off -c work_mem=1MB'"}),
        access, backend.now() + 5s, [] { return false; });
    auto& tx = connection->begin_read(ReadMode::autocommit);
    CHECK(tx.query_value<std::string>("SHOW transaction_read_only") == word);
    CHECK(tx.query_value<std::string>("SHOW work_mem") == "1MB");
  }
}

TEST_CASE("a statement blocked on the server returns at once when another thread aborts its connection") {
  auto const connection = connection_to(shared_cluster().primary());
  auto& tx = connection->begin_read(ReadMode::autocommit);
  auto const before = std::chrono::steady_clock::now();
  std::thread blocked{[&] { CHECK_THROWS_AS(tx.exec("SELECT pg_sleep(30)"), pqxx::broken_connection); }};
  eventually("the statement runs", 5s, [&] {
    return shared_cluster().primary().query(
               "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'") == "1";
  });
  connection->abort();
  blocked.join();
  CHECK(std::chrono::steady_clock::now() - before < 10s);
  CHECK(connection->is_lost());
  connection->end();
  CHECK_FALSE(connection->is_reusable());
}

TEST_CASE("a snapshot is one READ ONLY REPEATABLE READ transaction, and nothing of it is left") {
  auto const connection = connection_to(shared_cluster().replica(0));
  auto& tx = connection->begin_read(ReadMode::snapshot);
  CHECK(tx.query_value<std::string>("SHOW transaction_isolation") == "repeatable read");
  connection->end();
  CHECK(connection->is_reusable());
  CHECK(connection->begin_read(ReadMode::autocommit).query_value<std::string>("SHOW transaction_isolation") ==
        "read committed");
}

TEST_CASE("positions are the server's own") {
  auto& cluster = shared_cluster();
  cluster.primary().execute("CREATE TABLE mark(id int)");
  cluster.wait_until_caught_up();
  CHECK(connection_to(cluster.replica(0))->replayed() >= Lsn{1});
  CHECK(connection_to(cluster.primary())->inserted() >= connection_to(cluster.replica(0))->replayed());
}
