// Does the fixture start, break and mend real servers as it says, and leave nothing behind?

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/child_process.hpp"
#include "support/cluster.hpp"
#include "support/eventually.hpp"
#include "support/tcp_link.hpp"

using namespace std::chrono_literals;
using namespace replica_router::testing;
using Catch::Matchers::ContainsSubstring;
using Clock = std::chrono::steady_clock;

namespace {

using Connection = std::unique_ptr<PGconn, decltype(&::PQfinish)>;

std::string const count_rows = "SELECT count(*) FROM entry";
std::string const write_row = "INSERT INTO entry DEFAULT VALUES";

void make_table(Cluster& cluster) {
  cluster.primary().execute("CREATE TABLE entry (id bigint GENERATED ALWAYS AS IDENTITY)");
  cluster.wait_until_caught_up();
}

void wait_for_rows(ClusterNode& node, std::string const& wanted) {
  eventually(
      fmt::format("{} has {} rows", node.name(), wanted), 10s, [&] { return node.query(count_rows) == wanted; },
      [&] { return node.query(count_rows); });
}

Connection connect(std::string const& conninfo) {
  Connection connection{::PQconnectdb(conninfo.c_str()), &::PQfinish};
  // A server that stops says so to its sessions; libpq would print it.
  ::PQsetNoticeProcessor(
      connection.get(), [](void*, char const*) {}, nullptr);
  return connection;
}

/// "connected", "silent" when the deadline passes first, or libpq's error.
std::string try_to_connect(std::string const& conninfo, std::chrono::milliseconds deadline) {
  auto const end = Clock::now() + deadline;
  Connection const connection{::PQconnectStart(conninfo.c_str()), &::PQfinish};
  auto wanted = PGRES_POLLING_WRITING;
  while (wanted == PGRES_POLLING_READING || wanted == PGRES_POLLING_WRITING) {
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    pollfd socket{::PQsocket(connection.get()), static_cast<short>(wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT),
                  0};
    if (left <= 0ms || ::poll(&socket, 1, static_cast<int>(left.count())) == 0) {
      return "silent";
    }
    wanted = ::PQconnectPoll(connection.get());
  }
  return wanted == PGRES_POLLING_OK ? "connected" : ::PQerrorMessage(connection.get());
}

/// Sends a query and waits for its answer: the value, "silent" when the deadline passes first, or libpq's error.
std::string ask(PGconn* connection, char const* sql, std::chrono::milliseconds deadline) {
  auto const end = Clock::now() + deadline;
  if (sql != nullptr && ::PQsendQuery(connection, sql) != 1) {
    return ::PQerrorMessage(connection);
  }
  while (::PQisBusy(connection) == 1) {
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    pollfd socket{::PQsocket(connection), POLLIN, 0};
    if (left <= 0ms || ::poll(&socket, 1, static_cast<int>(left.count())) == 0) {
      return "silent";
    }
    if (::PQconsumeInput(connection) != 1) {
      return ::PQerrorMessage(connection);
    }
  }
  std::string answer;
  while (PGresult* result = ::PQgetResult(connection)) {
    answer = ::PQresultStatus(result) == PGRES_TUPLES_OK ? ::PQgetvalue(result, 0, 0) : ::PQresultErrorMessage(result);
    ::PQclear(result);
  }
  return answer;
}

std::string answer_of(PGconn* connection, std::chrono::milliseconds deadline) {
  return ask(connection, nullptr, deadline);
}

bool is_dead(pid_t process) {
  char const state = state_of(process);
  return state == 'X' || state == 'Z';
}

}  // namespace

TEST_CASE("a primary and its replicas start and replicate", "[fixture]") {
  auto const before = Clock::now();
  Cluster cluster{
      {.replicas = 3, .settings = {"work_mem = 5MB"}, .hba = {"host all guarded 127.0.0.1/32 scram-sha-256"}}};
  fmt::print("a primary and three replicas started in {} ms\n",
             std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - before).count());

  REQUIRE(cluster.replica_count() == 3);
  CHECK(cluster.primary().name() == "primary");
  CHECK(cluster.replica(2).name() == "replica-3");
  CHECK(cluster.replica_conninfos("shop").at(1) == cluster.replica(1).conninfo("shop"));
  CHECK_THROWS_AS(cluster.replica(3), std::out_of_range);

  make_table(cluster);
  cluster.primary().execute(write_row);
  cluster.wait_until_caught_up();
  for (std::size_t index = 0; index < cluster.replica_count(); ++index) {
    auto& replica = cluster.replica(index);
    INFO(replica.name());
    CHECK(replica.query("SELECT pg_is_in_recovery()") == "t");
    CHECK(replica.query(count_rows) == "1");
    CHECK(replica.query("SHOW work_mem") == "5MB");
    CHECK_THROWS_WITH(replica.execute(write_row),
                      ContainsSubstring("read-only transaction") && ContainsSubstring(replica.name()));
  }

  cluster.primary().execute("CREATE ROLE guarded LOGIN PASSWORD 'open sesame'");
  auto const guarded = fmt::format("host=127.0.0.1 port={} dbname=postgres user=guarded", cluster.primary().port());
  CHECK(try_to_connect(guarded + " password='open sesame'", 10s) == "connected");
  CHECK_THAT(try_to_connect(guarded + " password=wrong", 10s), ContainsSubstring("password authentication failed"));

  auto& fourth = cluster.add_replica();
  CHECK(fourth.name() == "replica-4");
  CHECK(cluster.replica_count() == 4);
  CHECK(fourth.query(count_rows) == "1");
  cluster.primary().execute(write_row);
  cluster.wait_until_caught_up();
  CHECK(fourth.query(count_rows) == "2");
}

TEST_CASE("a server that is stopped or killed keeps its port and starts again", "[fixture]") {
  Cluster cluster{{.replicas = 1}};
  make_table(cluster);
  auto& primary = cluster.primary();
  auto& replica = cluster.replica(0);

  for (auto* node : {&replica, &primary}) {
    for (auto stop : {&ClusterNode::stop_fast, &ClusterNode::stop_immediate, &ClusterNode::kill}) {
      auto const session = connect(node->conninfo());
      REQUIRE(ask(session.get(), "SELECT 1", 10s) == "1");
      auto const backend = static_cast<pid_t>(::PQbackendPID(session.get()));
      auto const port = node->port();

      (node->*stop)();
      CHECK_FALSE(node->is_running());
      CHECK(is_dead(backend));
      CHECK_THAT(try_to_connect(node->conninfo(), 10s), ContainsSubstring("refused"));
      CHECK(ask(session.get(), "SELECT 1", 10s) != "1");

      node->start();
      CHECK(node->is_running());
      CHECK(node->port() == port);
    }
    primary.execute(write_row);
  }
  wait_for_rows(replica, "2");
  CHECK_THROWS_WITH(primary.start(), ContainsSubstring("primary is running already"));
  replica.kill();
  CHECK_THROWS_WITH(replica.kill(), ContainsSubstring("replica-1 is not running"));
}

TEST_CASE("a suspended server accepts and never answers, until it is resumed", "[fixture]") {
  Cluster cluster{{.replicas = 1}};
  make_table(cluster);
  auto& replica = cluster.replica(0);
  auto const session = connect(replica.conninfo());
  REQUIRE(ask(session.get(), "SELECT 1", 10s) == "1");

  replica.suspend();
  CHECK(replica.is_running());
  CHECK(try_to_connect(replica.conninfo(), 300ms) == "silent");
  CHECK(ask(session.get(), "SELECT 2", 300ms) == "silent");
  cluster.primary().execute(write_row);
  cluster.wait_until_caught_up();  // not waiting for the suspended one

  replica.resume();
  CHECK(answer_of(session.get(), 10s) == "2");
  CHECK(try_to_connect(replica.conninfo(), 10s) == "connected");
  wait_for_rows(replica, "1");

  replica.suspend();
  replica.kill();
  CHECK_THAT(try_to_connect(replica.conninfo(), 10s), ContainsSubstring("refused"));
  replica.start();
  replica.suspend();
  replica.stop_fast();
  CHECK_FALSE(replica.is_running());
}

TEST_CASE("replay is paused, delayed and cut off", "[fixture]") {
  Cluster cluster{{.replicas = 1}};
  make_table(cluster);
  auto& primary = cluster.primary();
  auto& replica = cluster.replica(0);

  SECTION("paused: WAL arrives and is not replayed") {
    replica.pause_replay();
    primary.execute(write_row);
    auto const written = primary.query("SELECT pg_current_wal_flush_lsn()");
    eventually("the WAL has arrived", 10s,
               [&] { return replica.query(fmt::format("SELECT pg_last_wal_receive_lsn() >= '{}'", written)) == "t"; });
    CHECK(replica.query(fmt::format("SELECT pg_last_wal_replay_lsn() < '{}'", written)) == "t");
    CHECK(replica.query(count_rows) == "0");
    CHECK_THROWS_AS(cluster.wait_until_caught_up(200ms), ConditionNotMet);
    replica.resume_replay();
    cluster.wait_until_caught_up();
    CHECK(replica.query(count_rows) == "1");
  }

  SECTION("delayed: a commit is seen that much later") {
    replica.delay_replay(1s);
    auto const before = Clock::now();
    primary.execute(write_row);
    CHECK(replica.query(count_rows) == "0");
    wait_for_rows(replica, "1");
    CHECK(Clock::now() - before >= 950ms);
    replica.delay_replay(0ms);
    CHECK(replica.query("SHOW recovery_min_apply_delay") == "0");
    primary.execute(write_row);
    cluster.wait_until_caught_up();
    CHECK(replica.query(count_rows) == "2");
  }

  SECTION("cut off: nothing arrives while the primary writes on, also after a restart") {
    replica.cut_wal_receiver();
    CHECK(replica.query("SELECT count(*) FROM pg_stat_wal_receiver") == "0");
    eventually("the primary has lost its replica", 10s,
               [&] { return primary.query("SELECT count(*) FROM pg_stat_replication") == "0"; });
    primary.execute(write_row);
    CHECK_THROWS_AS(cluster.wait_until_caught_up(200ms), ConditionNotMet);
    replica.kill();
    replica.start();
    CHECK(replica.query("SELECT count(*) FROM pg_stat_wal_receiver") == "0");
    CHECK(replica.query(count_rows) == "0");
    replica.restore_wal_receiver();
    cluster.wait_until_caught_up();
    CHECK(replica.query(count_rows) == "1");
  }

  SECTION("a changed setting is in effect on a replica too; a wrong one is told") {
    replica.set("max_standby_streaming_delay", "500ms");
    CHECK(replica.query("SHOW max_standby_streaming_delay") == "500ms");
    replica.set("max_standby_streaming_delay", std::nullopt);
    CHECK(replica.query("SHOW max_standby_streaming_delay") == "30s");
    replica.set("log_line_prefix", "it's quoted ");
    CHECK(replica.query("SHOW log_line_prefix") == "it's quoted ");
    CHECK_THROWS_WITH(replica.set("max_standby_streaming_delay", "often"),
                      ContainsSubstring("max_standby_streaming_delay = often"));
    CHECK_THROWS_WITH(replica.set("max_connections", "300"), ContainsSubstring("max_connections = 300"));
  }
}

TEST_CASE("a replica is promoted, the others follow it, the old primary is rebuilt", "[fixture]") {
  Cluster cluster{{.replicas = 2}};
  make_table(cluster);
  auto& old_primary = cluster.primary();
  auto& new_primary = cluster.replica(0);
  auto& other = cluster.replica(1);
  std::string const timeline = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";

  old_primary.kill();
  new_primary.promote();
  new_primary.execute(write_row);
  CHECK(new_primary.query(timeline) == "00000002");
  other.follow(new_primary);
  other.wait_until_caught_up_with(new_primary);
  CHECK(other.query(count_rows) == "1");

  // It returns as a second primary, of the older timeline.
  old_primary.start();
  old_primary.execute(write_row);
  CHECK(old_primary.query(timeline) == "00000001");
  CHECK_THROWS_WITH(old_primary.follow(new_primary), ContainsSubstring("primary takes writes"));

  // And the other one takes writes on the same timeline as the new primary.
  other.break_away();
  other.execute(write_row);
  CHECK(other.query(timeline) == new_primary.query(timeline));
  CHECK_THROWS_WITH(other.restore_wal_receiver(), ContainsSubstring("follows no node"));

  old_primary.rebuild_from(new_primary);
  CHECK(old_primary.query("SELECT pg_is_in_recovery()") == "t");
  old_primary.wait_until_caught_up_with(new_primary);
  new_primary.execute(write_row);
  old_primary.wait_until_caught_up_with(new_primary);
  CHECK(old_primary.query(count_rows) == "2");
}

TEST_CASE("a link stalls, swallows, drops, delays and cannot be reached", "[fixture]") {
  Cluster cluster{{.replicas = 0}};
  TcpLink link{cluster.primary().port()};
  auto const session = connect(link.conninfo());
  REQUIRE(ask(session.get(), "SELECT 1", 10s) == "1");
  CHECK(link.accepted_count() == 1);
  CHECK(link.open_count() == 1);

  SECTION("large answers pass whole") {
    CHECK(ask(session.get(), "SELECT repeat('x', 8000000)", 10s).size() == 8'000'000);
  }

  SECTION("stalled: held both ways, and passed on afterwards") {
    link.set(LinkMode::stall);
    CHECK(ask(session.get(), "SELECT 2", 200ms) == "silent");
    CHECK(try_to_connect(link.conninfo(), 200ms) == "silent");
    CHECK(cluster.primary().query("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT 2'") == "0");
    link.set(LinkMode::forward);
    CHECK(answer_of(session.get(), 10s) == "2");
  }

  SECTION("answers stalled: the statement is carried out, its answer does not come") {
    cluster.primary().execute("CREATE TABLE entry (id int)");
    link.set(LinkMode::stall_answers);
    CHECK(ask(session.get(), "INSERT INTO entry VALUES (1) RETURNING id", 200ms) == "silent");
    wait_for_rows(cluster.primary(), "1");
    link.set(LinkMode::drop);
    CHECK(answer_of(session.get(), 10s) != "1");
    CHECK(::PQstatus(session.get()) == CONNECTION_BAD);
  }

  SECTION("swallowed: accepted, never answered, dead afterwards") {
    link.set(LinkMode::blackhole);
    CHECK(ask(session.get(), "SELECT 2", 200ms) == "silent");
    CHECK(try_to_connect(link.conninfo(), 200ms) == "silent");
    CHECK(link.accepted_count() == 2);
    link.set(LinkMode::forward);
    CHECK(answer_of(session.get(), 10s) != "2");
    CHECK(::PQstatus(session.get()) == CONNECTION_BAD);
    CHECK(try_to_connect(link.conninfo(), 10s) == "connected");
  }

  SECTION("dropped: reset and refused, until all passes again on the same port") {
    link.set(LinkMode::drop);
    CHECK(link.open_count() == 0);
    CHECK(ask(session.get(), "SELECT 2", 10s) != "2");
    CHECK(::PQstatus(session.get()) == CONNECTION_BAD);
    CHECK_THAT(try_to_connect(link.conninfo(), 10s), ContainsSubstring("refused"));
    link.set(LinkMode::forward);
    CHECK(try_to_connect(link.conninfo(), 10s) == "connected");
  }

  SECTION("unreachable: connecting hangs without being accepted") {
    link.set(LinkMode::unreachable);
    CHECK(try_to_connect(link.conninfo(), 300ms) == "silent");
    CHECK(ask(session.get(), "SELECT 2", 200ms) == "silent");
    CHECK(link.accepted_count() == 1);
    link.set(LinkMode::forward);
    CHECK(answer_of(session.get(), 10s) == "2");
    CHECK(try_to_connect(link.conninfo(), 10s) == "connected");
  }

  SECTION("delayed: each way takes that much longer") {
    link.set_delay(100ms);
    auto const before = Clock::now();
    CHECK(ask(session.get(), "SELECT 2", 10s) == "2");
    CHECK(Clock::now() - before >= 200ms);
    link.set_delay(0ms);
    CHECK(ask(session.get(), "SELECT 3", 10s) == "3");
  }

  SECTION("a dead server shows as a hang-up; a client that leaves is forgotten") {
    cluster.primary().kill();
    CHECK(ask(session.get(), "SELECT 2", 10s) != "2");
    auto const failure = try_to_connect(link.conninfo(), 10s);
    CHECK(failure != "connected");
    CHECK(failure != "silent");
    cluster.primary().start();
    auto other = connect(link.conninfo());
    REQUIRE(ask(other.get(), "SELECT 1", 10s) == "1");
    other.reset();
    eventually(
        "no connection is left", 10s, [&] { return link.open_count() == 0; },
        [&] { return fmt::to_string(link.open_count()); });
  }
}

TEST_CASE("two clusters live in one process, made by two threads", "[fixture]") {
  std::array<std::unique_ptr<Cluster>, 2> clusters;
  std::array<std::string, 2> failures;
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < clusters.size(); ++index) {
    threads.emplace_back([&clusters, &failures, index] {
      try {
        clusters.at(index) = std::make_unique<Cluster>(ClusterOptions{.replicas = 1});
      } catch (std::exception const& error) {
        failures.at(index) = error.what();
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  REQUIRE(failures == std::array<std::string, 2>{});

  std::set<std::string> identifiers;
  std::set<std::uint16_t> ports;
  for (auto const& cluster : clusters) {
    for (auto* node : {&cluster->primary(), &cluster->replica(0)}) {
      identifiers.insert(node->query("SELECT system_identifier FROM pg_control_system()"));
      ports.insert(node->port());
    }
  }
  CHECK(identifiers.size() == 2);
  CHECK(ports.size() == 4);

  auto const directory = clusters[0]->directory();
  CHECK(std::filesystem::exists(directory));
  clusters[0].reset();
  CHECK_FALSE(std::filesystem::exists(directory));
  CHECK(clusters[1]->replica(0).query("SELECT 1") == "1");
}

TEST_CASE("a process that is killed leaves neither servers nor files", "[fixture]") {
  std::array<int, 2> report{};
  REQUIRE(::pipe(report.data()) == 0);
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string text;
    try {
      Cluster cluster{{.replicas = 1}};
      text = cluster.directory().string();
      for (pid_t process : descendants_of(::getpid())) {
        text += fmt::format(" {}", process);
      }
      cluster.replica(0).suspend();
      [[maybe_unused]] auto const written = ::write(report[1], text.data(), text.size());
      ::kill(::getpid(), SIGKILL);
    } catch (std::exception const&) {
    }
    ::_exit(1);
  }
  ::close(report[1]);
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(report[0], buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(report[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));

  std::istringstream words{text};
  std::string directory;
  REQUIRE(words >> directory);
  std::vector<pid_t> processes;
  for (pid_t process = 0; words >> process;) {
    processes.push_back(process);
  }
  // The guardian, two servers and their processes.
  REQUIRE(processes.size() >= 9);
  eventually(
      "all servers are dead", 10s, [&] { return std::all_of(processes.begin(), processes.end(), is_dead); },
      [&] {
        return fmt::format("{} processes of {}",
                           std::count_if(processes.begin(), processes.end(), std::not_fn(is_dead)), text);
      });
  CHECK_FALSE(std::filesystem::exists(directory));
}

TEST_CASE("a condition that does not come is told with what was seen", "[fixture]") {
  int asked = 0;
  CHECK_THROWS_WITH(
      eventually(
          "the sun rises", 20ms, [&] { return ++asked < 0; }, [&] { return fmt::format("night {}", asked); }),
      "not within 20 ms: the sun rises; last seen: " + fmt::format("night {}", asked));
  CHECK(asked >= 2);
  CHECK_THROWS_WITH(eventually("it answers", 0ms, []() -> bool { throw std::runtime_error{"no answer"}; }),
                    "not within 0 ms: it answers; last seen: no answer");
  CHECK_NOTHROW(eventually("it is so", 0ms, [] { return true; }));
}
