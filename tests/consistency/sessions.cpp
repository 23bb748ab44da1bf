#include "consistency/sessions.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/replica_router.hpp"
#include "support/fault_schedule.hpp"
#include "support/worker_process.hpp"
#include "support/worker_process_record.hpp"

namespace replica_router::consistency {

namespace {

using namespace std::chrono_literals;
using testing::nanoseconds_now;
using testing::Operation;
using testing::OperationKind;
using testing::Outcome;
using testing::StopSign;
using testing::WorkerTask;

using Router = ReplicaRouter<AnyPolicy>;

constexpr auto patience = 2s;
constexpr auto read_statement = "read_versions";
constexpr auto write_statement = "write_version";
// One row: who answers, and the versions of keys in a row.
constexpr auto read_sql =
    "SELECT inet_server_port(), array_to_string(array_agg(version ORDER BY key), ' ') FROM truth "
    "WHERE key BETWEEN $1 AND $2";
constexpr auto write_sql =
    "UPDATE truth SET version = version + 1, is_slow_to_commit = $2 WHERE key = $1 RETURNING version";

/// How sessions in other threads and processes get a token: all are appended to one file, and the latest are read.
class TokenExchange {
 public:
  struct Entry {
    std::uint64_t id = 0;
    std::string text;
  };

  explicit TokenExchange(std::filesystem::path file) : file_{std::move(file)} {}

  void offer(Entry const& entry) const {
    auto const line = fmt::format("{} {}\n", entry.id, entry.text);
    // One write() in append mode: lines of several processes never mix.
    int const descriptor = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    auto const written = ::write(descriptor, line.data(), line.size());
    ::close(descriptor);
    if (written != static_cast<ssize_t>(line.size())) {
      throw std::runtime_error{"a token could not be handed over"};
    }
  }

  /// One of the latest, or nothing while there is none.
  [[nodiscard]] std::optional<Entry> take(std::uint64_t number) const {
    std::ifstream stream{file_};
    constexpr std::streamoff enough = 1'000;
    stream.seekg(0, std::ios::end);
    auto const size = static_cast<std::streamoff>(stream.tellg());
    stream.seekg(size > enough ? size - enough : 0);
    std::string line;
    if (size > enough) {
      std::getline(stream, line);  // may begin in the middle
    }
    std::vector<Entry> entries;
    while (std::getline(stream, line) && !stream.eof()) {
      auto const space = line.find(' ');
      entries.push_back({std::stoull(line), line.substr(space + 1)});
    }
    return entries.empty() ? std::nullopt : std::optional{entries[number % entries.size()]};
  }

 private:
  std::filesystem::path file_;
};

/// One thread's sessions, one after the other.
class SessionThread {
 public:
  SessionThread(WorkerTask const& task, int thread, Router& router, StopSign& stop)
      : router_{router},
        stop_{stop},
        exchange_{task.directory / "tokens"},
        writer_{task.directory / fmt::format("{}-{}.operations", task.worker, thread)},
        random_{task.seed * 1'000'003 + static_cast<std::uint64_t>(task.worker * 1'000 + thread)},
        shared_session_{static_cast<std::uint64_t>(task.worker + 1) << 40U},
        next_id_{shared_session_ + (static_cast<std::uint64_t>(thread + 1) << 30U)} {}

  void run() {
    while (stop_.pause(0us)) {
      auto session = router_.session();
      run_one(session, ++next_id_);
    }
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool happens(std::uint64_t percent) { return below(100) < percent; }
  std::chrono::milliseconds between(std::uint64_t least, std::uint64_t most) {
    return std::chrono::milliseconds{least + below(most - least + 1)};
  }

  void run_one(Router& session, std::uint64_t name) {
    home_ = static_cast<int>(below(key_count - keys_a_read + 1));
    is_monotonic_ = happens(40);
    writes_percent_ = below(3) * 20;
    if (happens(50)) {
      observe(session, name);
    }
    for (auto left = 10 + below(40); left > 0; --left) {
      // The router is a session, too: one that all threads of the process share.
      bool const is_shared = happens(10);
      auto& scope = is_shared ? router_ : session;
      auto const its_name = is_shared ? shared_session_ : name;
      if (happens(writes_percent_)) {
        write(scope, its_name);
      } else {
        read(scope, its_name);
      }
      if (happens(5)) {
        issue(scope, its_name);
      }
      // Often at once, mostly soon, and now and then after the next probe.
      auto const pause = happens(40) ? 0us : happens(95) ? std::chrono::microseconds{below(10'000)} : 300'000us;
      if (!stop_.pause(pause)) {
        return;
      }
    }
    issue(session, name);
  }

  void write(Router& session, std::uint64_t name) {
    Operation operation{.kind = OperationKind::write, .session = name, .id = ++next_id_};
    operation.key = home_ + static_cast<int>(below(keys_a_read));
    operation.is_exactly_once = happens(30);
    bool const is_slow = happens(10);
    WriteOptions const options{.exactly_once = operation.is_exactly_once, .deadline = patience};
    writer_.record(operation, [&](Operation& done) {
      auto const version = session.write(options, [&](auto& tx) {
        return tx.exec(pqxx::prepped{write_statement}, pqxx::params{done.key, is_slow})
            .one_field()
            .template as<std::uint32_t>();
      });
      done.versions = {version};
    });
  }

  void read(Router& session, std::uint64_t name) {
    Operation operation{.kind = OperationKind::read, .session = name};
    operation.key = home_;
    operation.is_monotonic = is_monotonic_;
    operation.is_lease = happens(60);
    ReadOptions options{.deadline = patience};
    options.monotonic = is_monotonic_ ? MonotonicReads::on : MonotonicReads::off;
    if (happens(30)) {
      options.max_staleness = between(20, 1'500);
      operation.max_staleness = std::chrono::nanoseconds{*options.max_staleness}.count();
    }
    if (happens(20)) {
      options.wait_up_to = between(1, 100);
    }
    if (happens(10)) {
      options.on_unmet = happens(50) ? OnUnmet::fail : OnUnmet::serve_stale;
      operation.may_be_stale = options.on_unmet == OnUnmet::serve_stale;
    }
    if (happens(5)) {
      if (auto const entry = exchange_.take(random_())) {
        options.at_least = Token::parse(entry->text);
        operation.id = options.at_least ? entry->id : 0;
      }
    }
    options.snapshot = happens(5);
    writer_.record(operation, [&](Operation& done) {
      if (done.is_lease) {
        auto const lease = session.read(options);
        done.bound = lease.staleness() == Duration::max() ? -1 : std::chrono::nanoseconds{lease.staleness()}.count();
        take_versions(*lease, done);
      } else {
        session.read(options, [&](auto& tx) { take_versions(tx, done); });
      }
    });
  }

  static void take_versions(pqxx::transaction_base& tx, Operation& done) {
    auto const answer = tx.exec(pqxx::prepped{read_statement}, pqxx::params{done.key, done.key + keys_a_read - 1});
    done.port = answer.at(0).at(0).as<int>();
    done.versions.clear();
    std::istringstream versions{answer.at(0).at(1).as<std::string>()};
    for (std::uint32_t version = 0; versions >> version;) {
      done.versions.push_back(version);
    }
    if (done.versions.size() != static_cast<std::size_t>(keys_a_read)) {
      throw std::runtime_error{"the read returned a wrong number of keys"};
    }
  }

  void issue(Router& session, std::uint64_t name) {
    Operation const operation{.kind = OperationKind::token_issued, .session = name, .id = ++next_id_};
    std::string text;
    writer_.record(operation, [&](Operation&) { text = session.token(); });
    if (!text.empty()) {
      exchange_.offer({operation.id, text});
    }
  }

  void observe(Router& session, std::uint64_t name) {
    auto const entry = exchange_.take(random_());
    if (!entry) {
      return;
    }
    writer_.record({.kind = OperationKind::token_observed, .session = name, .id = entry->id}, [&](Operation&) {
      auto const verdict = session.observe(entry->text);
      if (verdict != TokenVerdict::accepted && verdict != TokenVerdict::before_failover) {
        throw std::runtime_error{fmt::format("token {}", text_of(verdict))};
      }
    });
  }

  Router& router_;
  StopSign& stop_;
  TokenExchange exchange_;
  testing::OperationWriter writer_;
  std::mt19937_64 random_;
  std::uint64_t shared_session_;
  std::uint64_t next_id_;
  int home_ = 0;
  bool is_monotonic_ = false;
  std::uint64_t writes_percent_ = 0;
};

}  // namespace

std::string table_definition() {
  return fmt::format(
      "CREATE TABLE truth(key int PRIMARY KEY, version int NOT NULL, is_slow_to_commit bool NOT NULL DEFAULT false)"
      " WITH (fillfactor = 10);"
      "INSERT INTO truth SELECT key, 0 FROM generate_series(0, {}) AS key;{}",
      key_count - 1, testing::slow_commits_on("truth"));
}

void run_sessions(WorkerTask const& task) {
  auto options = testing::options_for(task.conninfos);
  // Nodes come and go every few seconds here: as many of them as possible are to be in use.
  options.max_backoff = 1s;
  options.warm_up = 500ms;
  // Positions that came home with the commit and positions that did not are proven in different ways.
  constexpr CaptureTokens kinds[] = {CaptureTokens::automatic, CaptureTokens::off, CaptureTokens::always};
  options.capture_tokens = kinds[task.worker % 3];
  Router router{options, AnyPolicy::parse(task.policy)};
  router.prepare(read_statement, read_sql);
  router.prepare(write_statement, write_sql);
  testing::run_threads(task, [&](int thread, StopSign& stop) { SessionThread{task, thread, router, stop}.run(); });
}

}  // namespace replica_router::consistency
