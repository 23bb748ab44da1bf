#include "support/cluster_node.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "support/eventually.hpp"
#include "support/initial_data.hpp"
#include "support/server_configuration.hpp"
#include "support/server_programs.hpp"

namespace replica_router::testing {

namespace {

using namespace std::chrono_literals;

// Generous: sanitizer builds share two processors with other tests. Nothing waits this long unless it is broken.
constexpr std::chrono::milliseconds patience = 60s;

using Connection = std::unique_ptr<PGconn, decltype(&::PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&::PQclear)>;

/// What a server writes into its data directory's postmaster.pid, each on its own line.
enum class PidFileLine { process = 1, shared_memory = 7, status = 8 };

std::string line_of_pid_file(std::filesystem::path const& data, PidFileLine wanted) {
  std::ifstream file{data / "postmaster.pid"};
  std::string line;
  for (int number = 0; number < static_cast<int>(wanted); ++number) {
    if (!std::getline(file, line)) {
      return {};
    }
  }
  return line;
}

bool says_ready(std::filesystem::path const& data, pid_t server) {
  // The file of a killed predecessor says "ready" too.
  return line_of_pid_file(data, PidFileLine::process) == fmt::to_string(server) &&
         line_of_pid_file(data, PidFileLine::status).starts_with("ready");
}

/// The id of the System V segment that a server has, or, if it was killed, has left.
std::string shared_memory_of(std::filesystem::path const& data) {
  auto const line = line_of_pid_file(data, PidFileLine::shared_memory);
  return line.substr(std::min(line.size(), line.find_last_of(' ') + 1));
}

std::uint64_t number_of_lsn(std::string_view text) {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto const slash = text.find('/');
  if (slash == std::string_view::npos) {
    return 0;
  }
  std::from_chars(text.data(), text.data() + slash, high, 16);
  std::from_chars(text.data() + slash + 1, text.data() + text.size(), low, 16);
  return high << 32U | low;
}

/// Where the last record ends. The insert position lies past the header of a page that has no record yet, a position
/// that no replica reports before the next record.
std::uint64_t end_of_last_record(std::uint64_t insert_lsn) {
  constexpr std::uint64_t page = 8192;
  constexpr std::uint64_t segment = 16 * 1024 * 1024;
  if (insert_lsn % segment == 40) {
    return insert_lsn - 40;
  }
  return insert_lsn % page == 24 ? insert_lsn - 24 : insert_lsn;
}

}  // namespace

ClusterNode::ClusterNode(std::string name, ClusterSite const& site)
    : name_{std::move(name)}, site_{site}, home_{site.directory / name_} {
  run({{"/bin/mkdir", home_.string()}, site_.directory}, site_.account, patience);
}

ClusterNode::~ClusterNode() {
  if (server_ > 0) {
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
  }
}

std::string ClusterNode::conninfo(std::string_view database) const {
  return fmt::format("host=127.0.0.1 port={} dbname={} user=postgres", port(), database);
}

std::string ClusterNode::query(std::string const& sql, std::string_view database) const {
  auto const how = conninfo(database) + " connect_timeout=5 application_name='test fixture'";
  Connection const connection{::PQconnectdb(how.c_str()), &::PQfinish};
  if (::PQstatus(connection.get()) != CONNECTION_OK) {
    throw std::runtime_error{fmt::format("{}: {}", name_, ::PQerrorMessage(connection.get()))};
  }
  Result const result{::PQexec(connection.get(), sql.c_str()), &::PQclear};
  auto const status = ::PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    throw std::runtime_error{fmt::format("{}: {} (statement: {})", name_, ::PQerrorMessage(connection.get()), sql)};
  }
  return ::PQntuples(result.get()) > 0 && ::PQnfields(result.get()) > 0 ? ::PQgetvalue(result.get(), 0, 0) : "";
}

void ClusterNode::execute(std::string const& sql, std::string_view database) const {
  static_cast<void>(query(sql, database));
}

std::string ClusterNode::log_tail(std::size_t lines) const {
  auto const text = text_of(home_ / "log");
  auto start = text.size();
  for (std::size_t left = lines + 1; left > 0 && start > 0; --left) {
    start = text.rfind('\n', start - 1);
    if (start == std::string::npos) {
      return text;
    }
  }
  return text.substr(start == text.size() ? start : start + 1);
}

bool ClusterNode::is_running() {
  if (server_ > 0 && has_ended(server_)) {
    server_ = -1;
    is_suspended_ = false;
  }
  return server_ > 0;
}

bool ClusterNode::is_following() { return is_running() && !is_suspended_ && !upstream_.empty(); }

void ClusterNode::launch() {
  if (is_running()) {
    throw std::logic_error{name_ + " is running already"};
  }
  int const log = ::open((home_ / "log").c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (log < 0) {
    throw std::system_error{errno, std::generic_category(), (home_ / "log").string()};
  }
  try {
    server_ = testing::start({{server_program("postgres"), "-D", data().string()}, home_, -1, log}, site_.account);
  } catch (...) {
    ::close(log);
    throw;
  }
  ::close(log);
}

void ClusterNode::wait_until_ready() {
  bool has_died = false;
  eventually(
      name_ + " accepts connections", patience,
      [&] {
        has_died = !is_running();
        return has_died || says_ready(data(), server_);
      },
      [&] { return "in its log: " + log_tail(); });
  if (has_died) {
    throw std::runtime_error{fmt::format("{} ended while starting; in its log: {}", name_, log_tail())};
  }
}

void ClusterNode::start() {
  launch();
  wait_until_ready();
}

void ClusterNode::stop(int signal, std::string_view how) {
  if (!is_running()) {
    throw std::logic_error{name_ + " is not running"};
  }
  if (is_suspended_) {
    resume();
  }
  ::kill(server_, signal);
  eventually(
      fmt::format("{} {}", name_, how), patience, [&] { return !is_running(); },
      [&] { return "in its log: " + log_tail(); });
}

void ClusterNode::stop_fast() { stop(SIGINT, "stops after a fast shutdown was asked for"); }

void ClusterNode::stop_immediate() { stop(SIGQUIT, "stops after an immediate shutdown was asked for"); }

void ClusterNode::kill() {
  if (!is_running()) {
    throw std::logic_error{name_ + " is not running"};
  }
  // Stopped first: a server that still ran would start new processes, and tell the others to end in an orderly way.
  ::kill(server_, SIGSTOP);
  auto const others = descendants_of(server_);
  ::kill(server_, SIGKILL);
  for (pid_t process : others) {
    ::kill(process, SIGKILL);
  }
  eventually(name_ + " is dead after SIGKILL", patience, [&] {
    return !is_running() && std::all_of(others.begin(), others.end(), [](pid_t process) {
      char const state = state_of(process);
      return state == 'X' || state == 'Z';
    });
  });
}

void ClusterNode::suspend() {
  if (!is_running()) {
    throw std::logic_error{name_ + " is not running"};
  }
  ::kill(server_, SIGSTOP);
  auto processes = descendants_of(server_);
  for (pid_t process : processes) {
    ::kill(process, SIGSTOP);
  }
  processes.push_back(server_);
  eventually(name_ + " stands still after SIGSTOP", patience, [&] {
    return std::all_of(processes.begin(), processes.end(), [](pid_t process) {
      char const state = state_of(process);
      return state == 'T' || state == 'X' || state == 'Z';
    });
  });
  is_suspended_ = true;
}

void ClusterNode::resume() {
  if (!is_running()) {
    throw std::logic_error{name_ + " is not running"};
  }
  for (pid_t process : descendants_of(server_)) {
    ::kill(process, SIGCONT);
  }
  ::kill(server_, SIGCONT);
  is_suspended_ = false;
}

void ClusterNode::write_file(std::filesystem::path const& file, std::string_view text) const {
  // A new file in place of the old: a server that reads it meanwhile sees one or the other.
  auto const fresh = file.string() + ".new";
  std::ofstream stream{fresh, std::ios::trunc};
  stream << text;
  stream.close();
  if (!stream || (site_.account.is_another && ::chown(fresh.c_str(), site_.account.user, site_.account.group) != 0)) {
    throw std::system_error{errno, std::generic_category(), fresh};
  }
  std::filesystem::rename(fresh, file);
}

void ClusterNode::edit_setting(std::string_view setting, std::optional<std::string_view> value) const {
  auto const file = data() / "postgresql.auto.conf";
  write_file(file, with_setting(text_of(file), setting, value));
}

void ClusterNode::set(std::string_view setting, std::optional<std::string_view> value) {
  if (!is_running()) {
    edit_setting(setting, value);
    return;
  }
  std::string const loaded = "SELECT pg_conf_load_time()";
  auto const before = query(loaded);
  edit_setting(setting, value);
  ::kill(server_, SIGHUP);
  eventually(fmt::format("{} has reloaded its settings for {}", name_, setting), patience,
             [&] { return query(loaded) != before; });
  auto const error =
      query(fmt::format("SELECT error FROM pg_file_settings WHERE name = '{}' AND error IS NOT NULL", setting));
  if (!error.empty()) {
    throw std::runtime_error{fmt::format("{}: {} = {}: {}", name_, setting, value.value_or("(reset)"), error)};
  }
}

void ClusterNode::await(std::string_view condition, std::string const& sql, std::string_view wanted) const {
  std::string seen;
  eventually(
      fmt::format("{} {}", name_, condition), patience,
      [&] {
        seen = query(sql);
        return seen == wanted;
      },
      [&] { return fmt::format("{} gives '{}'; in its log: {}", sql, seen, log_tail()); });
}

void ClusterNode::promote() {
  execute("SELECT pg_promote(false)");
  await("takes writes after its promotion", "SELECT pg_is_in_recovery()", "f");
  upstream_.clear();
}

void ClusterNode::break_away() {
  stop_fast();
  std::filesystem::remove(data() / "standby.signal");
  upstream_.clear();
  start();
}

void ClusterNode::pause_replay() {
  execute("SELECT pg_wal_replay_pause()");
  await("has paused its replay", "SELECT pg_get_wal_replay_pause_state()", "paused");
}

void ClusterNode::resume_replay() {
  execute("SELECT pg_wal_replay_resume()");
  await("has resumed its replay", "SELECT pg_get_wal_replay_pause_state()", "not paused");
}

void ClusterNode::delay_replay(std::chrono::milliseconds delay) {
  if (delay == 0ms) {
    set("recovery_min_apply_delay", std::nullopt);
  } else {
    set("recovery_min_apply_delay", fmt::format("{}ms", delay.count()));
  }
}

void ClusterNode::cut_wal_receiver() {
  set("primary_conninfo", "");
  await("has no WAL receiver", "SELECT count(*) FROM pg_stat_wal_receiver", "0");
}

void ClusterNode::restore_wal_receiver() {
  if (upstream_.empty()) {
    throw std::logic_error{name_ + " follows no node"};
  }
  set("primary_conninfo", upstream_);
  await("receives WAL", "SELECT status FROM pg_stat_wal_receiver", "streaming");
}

void ClusterNode::become_replica_of(ClusterNode const& upstream) {
  upstream_ = setting_on_upstream(upstream);
  write_file(data() / "standby.signal", "");
  edit_setting("primary_conninfo", upstream_);
}

std::string ClusterNode::setting_on_upstream(ClusterNode const& upstream) const {
  return fmt::format("host=127.0.0.1 port={} user=postgres application_name={}", upstream.port(), name_);
}

void ClusterNode::follow(ClusterNode const& upstream) {
  if (!is_running()) {
    become_replica_of(upstream);
    start();
  } else if (query("SELECT pg_is_in_recovery()") == "t") {
    upstream_ = setting_on_upstream(upstream);
    set("primary_conninfo", upstream_);
  } else {
    throw std::logic_error{name_ + " takes writes: stop it before it follows another"};
  }
  await("receives WAL from " + upstream.name(),
        "SELECT status || ' from port ' || sender_port FROM pg_stat_wal_receiver",
        fmt::format("streaming from port {}", upstream.port()));
}

void ClusterNode::configure() const {
  write_file(data() / "postgresql.conf", server_settings(name_, port(), site_.settings));
  write_file(data() / "postgresql.auto.conf", "");
  write_file(data() / "pg_hba.conf", access_rules(site_.hba));
}

void ClusterNode::make_first_data() {
  make_initial_data(data(), site_.account);
  configure();
}

void ClusterNode::copy_data_of(ClusterNode const& upstream) {
  run({{"/bin/cp", "-a", "--sparse=always", upstream.data().string(), data().string()}, home_}, site_.account,
      patience);
  configure();
  become_replica_of(upstream);
}

void ClusterNode::rebuild_from(ClusterNode const& upstream) {
  if (is_running()) {
    stop_immediate();
  }
  if (auto const segment = shared_memory_of(data()); !segment.empty()) {
    // A killed server's, which the next server in this directory would have removed.
    run({{"/bin/sh", "-c", "ipcrm -m " + segment}, home_}, site_.account, patience);
  }
  std::filesystem::remove_all(data());
  run({{server_program("pg_basebackup"), "--pgdata", data().string(), "--dbname", upstream.conninfo(),
        "--checkpoint=fast", "--wal-method=stream", "--no-sync", "--no-password"},
       home_},
      site_.account, patience);
  configure();
  follow(upstream);
}

void ClusterNode::wait_until_caught_up_with(ClusterNode const& upstream, std::chrono::milliseconds deadline) const {
  auto const written = upstream.query(
      "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END");
  auto const target = end_of_last_record(number_of_lsn(written));
  std::string replayed;
  eventually(
      fmt::format("{} has replayed all that {} has written", name_, upstream.name()), deadline,
      [&] {
        replayed = query("SELECT pg_last_wal_replay_lsn()");
        return number_of_lsn(replayed) >= target;
      },
      [&] { return fmt::format("{} of {}", replayed, written); });
}

}  // namespace replica_router::testing
