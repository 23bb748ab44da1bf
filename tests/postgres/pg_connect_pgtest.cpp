#include "replica_router/postgres/pg_connect.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <string>
#include <vector>

#include "cluster_options.hpp"
#include "support/tcp_link.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

/// Of one user a password is asked; another may open only six connections.
testing::Cluster& shared_cluster() {
  static testing::Cluster cluster{{.replicas = 1, .hba = {"host all locked 127.0.0.1/32 scram-sha-256"}}};
  static bool const is_filled = [] {
    cluster.primary().execute(
        "CREATE ROLE locked LOGIN PASSWORD 'open sesame''\\ ;'; CREATE ROLE plain LOGIN CONNECTION LIMIT 6");
    cluster.wait_until_caught_up();
    return true;
  }();
  static_cast<void>(is_filled);
  return cluster;
}

ConnectFailure failure_to_connect(std::string const& conninfo, std::chrono::milliseconds within = 5s) {
  try {
    static_cast<void>(connect_until(ConnInfo::parse(conninfo), TimePoint::clock::now() + within, [] { return false; }));
  } catch (ConnectFailure const& failure) {
    return failure;
  }
  throw std::logic_error{"a connection was made"};
}

}  // namespace

TEST_CASE("a password with a space, a quote, a backslash and a semicolon works, also through the router") {
  auto& cluster = shared_cluster();
  auto const secret = std::string{" user=locked password='open sesame\\'\\\\ ;'"};
  auto const connection = connect_until(ConnInfo::parse(cluster.primary().conninfo() + secret),
                                        TimePoint::clock::now() + 5s, [] { return false; });
  CHECK(PQstatus(connection.get()) == CONNECTION_OK);
  auto options = options_for(cluster);
  options.primary.conninfo += secret;
  options.replicas[0].conninfo += secret;
  ReplicaRouter db{options};
  wait_until_known(db, 1);
  CHECK(db.read()->query_value<std::string>("SELECT current_user") == "locked");
  CHECK_THAT(db.status().text(), !ContainsSubstring("sesame"));
}

TEST_CASE("what a refusal says of the node is told apart, in libpq's own words and without the password") {
  auto& node = shared_cluster().primary();
  auto const wrong = failure_to_connect(node.conninfo() + " user=locked password='not it'");
  CHECK(wrong.kind() == ProbeFailure::rejected);
  CHECK_THAT(wrong.what(), ContainsSubstring("password authentication failed") && !ContainsSubstring("not it") &&
                               !ContainsSubstring("28P01") && !ContainsSubstring("LOCATION"));
  auto const unknown = failure_to_connect(node.conninfo("no_such_database"));
  CHECK(unknown.kind() == ProbeFailure::rejected);
  CHECK_THAT(unknown.what(), ContainsSubstring("does not exist"));
  CHECK(failure_to_connect("host=127.0.0.1 port=1").kind() == ProbeFailure::refused);
  CHECK(failure_to_connect("host=no-such-host.invalid").kind() == ProbeFailure::refused);
}

TEST_CASE("a connection attempt ends at its deadline, to the millisecond's order, and when there is no hope") {
  TcpLink link{shared_cluster().primary().port()};
  link.set(LinkMode::blackhole);
  auto const before = TimePoint::clock::now();
  CHECK(failure_to_connect(link.conninfo(), 150ms).kind() == ProbeFailure::late);
  auto const took = TimePoint::clock::now() - before;
  CHECK(took >= 150ms);
  CHECK(took < 1s);
  int asked = 0;
  CHECK_THROWS_AS(connect_until(ConnInfo::parse(link.conninfo()), before + 1min, [&] { return ++asked > 3; }),
                  ConnectFailure);
}

TEST_CASE(
    "too many connections: the reads go elsewhere, the node is not taken for dead, and serves when there is room") {
  auto& cluster = shared_cluster();
  auto options = options_for(cluster);
  options.replicas[0].conninfo += " user=plain";
  ReplicaRouter db{options, RoundRobin{}};
  wait_until_known(db, 1);
  {
    std::vector<PgConnection> hoarded;
    try {
      for (;;) {
        hoarded.push_back(connect_until(ConnInfo::parse(cluster.replica(0).conninfo() + " user=plain"),
                                        TimePoint::clock::now() + 5s, [] { return false; }));
      }
    } catch (ConnectFailure const& full) {
      CHECK(full.kind() == ProbeFailure::too_many_connections);
    }
    std::vector<decltype(db.read())> held;
    for (int i = 0; i < 4; ++i) {
      held.push_back(db.read());
    }
    CHECK(held.back().served_by() == "primary");
    CHECK(node_of(db.status(), "replica-1").health == Health::up);
    CHECK(node_of(db.status(), "replica-1").refused > 0);
  }
  eventually("the replica serves again", 10s, [&] {
    std::vector<decltype(db.read())> held;
    for (int i = 0; i < 4; ++i) {
      held.push_back(db.read());
    }
    return held.back().served_by() == "replica-1";
  });
}
