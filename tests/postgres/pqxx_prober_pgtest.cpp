#include "replica_router/postgres/pqxx_prober.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <map>
#include <string>

#include "cluster_options.hpp"
#include "support/tcp_link.hpp"

using namespace replica_router;
using namespace replica_router::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

testing::Cluster& shared_cluster() {
  static testing::Cluster cluster{{.replicas = 1}};
  return cluster;
}

/// Waits for the next event of one node, however many of others come before it.
ProbeEvent next_event(PqxxProber<>& prober, NodeId id, std::chrono::milliseconds within = 5s) {
  auto const deadline = TimePoint::clock::now() + within;
  while (TimePoint::clock::now() < deadline) {
    for (auto const& event : prober.wait(deadline)) {
      if (event.node == id) {
        return event;
      }
    }
  }
  throw ConditionNotMet{"no event of node " + std::to_string(id)};
}

void ask(PqxxProber<>& prober, NodeId id, ConnInfo const& conninfo) {
  auto const now = TimePoint::clock::now();
  prober.ask(id, conninfo, now, now + 500ms, 250ms);
}

}  // namespace

TEST_CASE("a primary and a replica tell their role, position, timeline and identity") {
  auto& cluster = shared_cluster();
  auto const primary = ConnInfo::parse(cluster.primary().conninfo());
  auto const replica = ConnInfo::parse(cluster.replica(0).conninfo());
  PqxxProber<> prober;
  ask(prober, 0, primary);
  ask(prober, 1, replica);
  std::map<NodeId, ProbeEvent> events;
  eventually("both have answered", 5s, [&] {
    for (auto& event : prober.wait(TimePoint::clock::now() + 1s)) {
      events[event.node] = event;
    }
    return events.size() == 2;
  });
  REQUIRE_FALSE(events[0].failure);
  REQUIRE_FALSE(events[1].failure);
  CHECK_FALSE(events[0].answer.is_in_recovery);
  CHECK(events[1].answer.is_in_recovery);
  CHECK(events[0].answer.timeline == 1);
  CHECK(events[1].answer.timeline == 1);
  CHECK(events[1].answer.is_timeline_certain);
  CHECK(events[0].answer.flushed > Lsn{});
  CHECK(events[0].answer.flush_delay == 600ms);
  CHECK(events[0].answer.position >= events[0].answer.flushed);
  CHECK(events[1].answer.position > Lsn{});
  CHECK(std::to_string(events[0].answer.system_identifier) ==
        cluster.primary().query("SELECT system_identifier FROM pg_control_system()"));
  CHECK(events[0].answer.system_identifier == events[1].answer.system_identifier);
  CHECK(events[0].answer.round_trip > Duration::zero());
}

TEST_CASE("a node that never answers is told to be late again and again, and delays no other") {
  auto& cluster = shared_cluster();
  TcpLink link{cluster.replica(0).port()};
  link.set(LinkMode::blackhole);
  auto const hung = ConnInfo::parse(link.conninfo());
  auto const well = ConnInfo::parse(cluster.primary().conninfo());
  PqxxProber<> prober;
  auto const before = TimePoint::clock::now();
  ask(prober, 0, hung);
  ask(prober, 1, well);
  CHECK_FALSE(next_event(prober, 1).failure);
  CHECK(TimePoint::clock::now() - before < 400ms);
  CHECK(next_event(prober, 0).failure == ProbeFailure::late);
  CHECK(next_event(prober, 0).failure == ProbeFailure::late);
  CHECK(TimePoint::clock::now() - before >= 750ms);
}

TEST_CASE("a server that ended the probe's connection is asked once more on a new one") {
  auto& cluster = shared_cluster();
  auto const conninfo = ConnInfo::parse(cluster.primary().conninfo() + " application_name=the_probe");
  PqxxProber<> prober;
  ask(prober, 0, conninfo);
  REQUIRE_FALSE(next_event(prober, 0).failure);
  cluster.primary().execute(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'the_probe'");
  CHECK(next_event(prober, 0).failure == ProbeFailure::lost);
  ask(prober, 0, conninfo);
  CHECK_FALSE(next_event(prober, 0).failure);
}

TEST_CASE("refusals come with libpq's reason") {
  auto& cluster = shared_cluster();
  auto const nobody = ConnInfo::parse("host=127.0.0.1 port=1");
  auto const wrong = ConnInfo::parse(cluster.primary().conninfo("no_such_database"));
  PqxxProber<> prober;
  ask(prober, 0, nobody);
  ask(prober, 1, wrong);
  auto const first = next_event(prober, 0);
  CHECK(first.failure == ProbeFailure::refused);
  CHECK_THAT(first.reason, ContainsSubstring("refused"));
  auto const second = next_event(prober, 1);
  CHECK(second.failure == ProbeFailure::rejected);
  CHECK_THAT(second.reason, ContainsSubstring("no_such_database"));
}

TEST_CASE("what the server refuses to tell is unknown, and the rest is told") {
  auto& cluster = shared_cluster();
  cluster.primary().execute("CREATE ROLE plain LOGIN");
  auto const answer_for_plain = [&](ClusterNode& node) {
    cluster.wait_until_caught_up();
    auto const conninfo = ConnInfo::parse(node.conninfo() + " user=plain");
    PqxxProber<> prober;
    ask(prober, 0, conninfo);
    auto const event = next_event(prober, 0);
    REQUIRE_FALSE(event.failure);
    return event.answer;
  };
  auto answer = answer_for_plain(cluster.replica(0));
  CHECK(answer.timeline == 1);
  CHECK_FALSE(answer.is_timeline_certain);  // only pg_read_all_stats sees the WAL receiver's
  cluster.primary().execute(
      "REVOKE EXECUTE ON FUNCTION pg_control_checkpoint(), pg_control_system(), pg_walfile_name(pg_lsn) FROM PUBLIC");
  answer = answer_for_plain(cluster.replica(0));
  CHECK(answer.timeline == 0);
  CHECK(answer.system_identifier == 0);
  CHECK(answer.position > Lsn{});
  CHECK(answer_for_plain(cluster.primary()).timeline == 0);
  cluster.primary().execute(
      "REVOKE EXECUTE ON FUNCTION pg_last_wal_replay_lsn(), pg_current_wal_flush_lsn() FROM PUBLIC");
  answer = answer_for_plain(cluster.replica(0));
  CHECK(answer.is_in_recovery);
  CHECK(answer.position == Lsn{});
  cluster.primary().execute(
      "GRANT EXECUTE ON FUNCTION pg_control_checkpoint(), pg_control_system(), pg_walfile_name(pg_lsn), "
      "pg_last_wal_replay_lsn(), "
      "pg_current_wal_flush_lsn() TO PUBLIC");
}

TEST_CASE("the question is planned once a connection") {
  auto& primary = shared_cluster().primary();
  auto const conninfo = ConnInfo::parse(primary.conninfo() + " application_name=planned_once");
  PqxxProber<> prober;
  ask(prober, 0, conninfo);
  auto const first = next_event(prober, 0).answer;
  ask(prober, 0, conninfo);
  auto const second = next_event(prober, 0).answer;
  CHECK(primary.query("SELECT query FROM pg_stat_activity WHERE application_name = 'planned_once'") ==
        "EXECUTE replica_router_probe_0");
  CHECK(first.position > Lsn{});
  CHECK(second.position >= first.position);
  CHECK(second.timeline == 1);
}

TEST_CASE("where prepared statements do not last, as behind a proxy, the question is asked plainly") {
  auto const raw = connect_until(ConnInfo::parse(shared_cluster().primary().conninfo()), TimePoint::clock::now() + 5s,
                                 [] { return false; });
  auto const answer_to = [&](std::string const& sql) { return PgResult{PQexec(raw.get(), sql.c_str())}; };
  ProbeQuestion question;
  auto const first = question.sql();
  REQUIRE(PQresultStatus(answer_to(first).get()) == PGRES_TUPLES_OK);

  SECTION("it is gone") {
    static_cast<void>(question.answered(answer_to("DEALLOCATE ALL; " + first).get()));
    answer_to("DEALLOCATE ALL");
  }
  SECTION("it is there already") {}
  auto const error = answer_to(question.sql());
  REQUIRE(PQresultStatus(error.get()) == PGRES_FATAL_ERROR);
  CHECK(question.falls_back(error.get()));
  CHECK(question.sql() == probe_questions[0]);
  CHECK(question.answered(answer_to(question.sql()).get()).timeline == 1);
  CHECK(question.sql() == probe_questions[0]);
}

TEST_CASE("a wait is ended from another thread") {
  PqxxProber<> prober;
  auto const before = TimePoint::clock::now();
  prober.wake();
  CHECK(prober.wait(before + 1min).empty());
  CHECK(TimePoint::clock::now() - before < 30s);
}
