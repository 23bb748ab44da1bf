#include "chaos/load.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/replica_router.hpp"
#include "support/fault_schedule.hpp"
#include "support/worker_process_record.hpp"

namespace replica_router::chaos {

namespace {

using namespace std::chrono_literals;
using testing::Operation;
using testing::OperationKind;
using testing::Outcome;
using testing::StopSign;
using testing::WorkerTask;

using Router = ReplicaRouter<AnyPolicy>;

/// One thread: a reader, or a writer that also reads what it wrote.
class LoadThread {
 public:
  LoadThread(WorkerTask const& task, int thread, Router& router, StopSign& stop)
      : router_{router},
        stop_{stop},
        writer_{task.directory / fmt::format("{}-{}.operations", task.worker, thread)},
        random_{task.seed * 1'000'003 + static_cast<std::uint64_t>(task.worker * 1'000 + thread)},
        is_writer_{thread % 2 == 0},
        next_id_{(static_cast<std::uint64_t>(task.worker + 1) << 40U) + (static_cast<std::uint64_t>(thread) << 30U)} {}

  void run() {
    do {
      if (is_writer_) {
        write_and_read();
      } else {
        read();
      }
    } while (stop_.pause(std::chrono::microseconds{below(15'000)}));
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool happens(std::uint64_t percent) { return below(100) < percent; }

  void read() {
    bool const is_long = happens(4);
    ReadOptions options;
    options.snapshot = is_long;
    writer_.record({.kind = OperationKind::read}, [&](Operation& done) {
      auto reader = router_.session();
      reader.read(options, [&](auto& tx) {
        // The long one holds a lock that replay can want.
        auto const answer = tx.exec(is_long ? "SELECT inet_server_port(), count(*), pg_sleep(0.3) FROM doomed"
                                            : "SELECT inet_server_port(), count(*) FROM setting");
        done.port = answer.at(0).at(0).template as<int>();
      });
    });
  }

  void write_and_read() {
    auto session = router_.session();
    Operation write{.kind = OperationKind::write, .id = ++next_id_};
    write.is_exactly_once = happens(50);
    bool const is_slow = happens(10);
    WriteOptions options;
    options.exactly_once = write.is_exactly_once;
    if (write.is_exactly_once) {
      options.deadline = 30s;
    }
    auto const outcome = writer_.record(write, [&](Operation& done) {
      session.write(options, [&](auto& tx) {
        tx.exec("INSERT INTO entry(id, is_slow_to_commit) VALUES ($1, $2)", pqxx::params{done.id, is_slow});
      });
    });
    if (outcome == Outcome::done && happens(50)) {
      writer_.record({.kind = OperationKind::read, .id = write.id}, [&](Operation& done) {
        session.read([&](auto& tx) {
          auto const answer =
              tx.exec("SELECT inet_server_port(), count(*) FROM entry WHERE id = $1", pqxx::params{done.id});
          done.port = answer.at(0).at(0).template as<int>();
          done.versions = {answer.at(0).at(1).template as<std::uint32_t>()};
        });
      });
    }
  }

  Router& router_;
  StopSign& stop_;
  testing::OperationWriter writer_;
  std::mt19937_64 random_;
  bool is_writer_;
  std::uint64_t next_id_;
};

}  // namespace

std::string load_definition() {
  // Members of pg_monitor see which timeline a replica follows: it is proven sooner after a promotion.
  return fmt::format(
      "CREATE TABLE entry(id bigint NOT NULL, is_slow_to_commit bool NOT NULL); CREATE INDEX ON entry(id);"
      "CREATE TABLE setting(name text); INSERT INTO setting VALUES ('colour');"
      "CREATE TABLE doomed(id int); INSERT INTO doomed VALUES (1);"
      "CREATE ROLE {0} LOGIN IN ROLE pg_monitor; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {0};{1}",
      load_role, testing::slow_commits_on("entry"));
}

Options options_for_load(std::vector<std::string> const& conninfos) {
  auto out = testing::options_for(conninfos);
  // A node that fails every few seconds would soon be left alone for 30 s, and nothing could be done to it meanwhile.
  out.max_backoff = 2s;
  return out;
}

void run_load(WorkerTask const& task) {
  Router router{options_for_load(task.conninfos), AnyPolicy::parse(task.policy)};
  testing::run_threads(task, [&](int thread, StopSign& stop) { LoadThread{task, thread, router, stop}.run(); });
}

}  // namespace replica_router::chaos
