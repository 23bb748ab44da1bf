// Does anything get lost on the database's worst day? `--help` tells how that is found out.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "chaos/ledger.hpp"
#include "chaos/load.hpp"
#include "chaos/troubles.hpp"
#include "replica_router/replica_router.hpp"
#include "support/eventually.hpp"
#include "support/fault_schedule.hpp"
#include "support/worker_process_record.hpp"
#include "support/worker_process_run.hpp"

namespace {

using namespace replica_router;
using namespace replica_router::chaos;
using namespace std::chrono_literals;
using testing::FaultStage;
using testing::nanoseconds_now;

constexpr int violations_found = 1;
constexpr int wrong_usage = 2;
constexpr auto help_flag = "--help";

constexpr auto help = R"(chaos_runner: does anything get lost on the database's worst day?

A primary and three replicas are started; several processes read and write through links. One trouble after the other
is drawn from the seed: servers are killed, stopped, restarted and promoted, links stall, drop and never answer. Each is
mended, and the next begins when a router sees all nodes well, fresh and in their roles again.

  --seed N          repeats the troubles in the same order; default: drawn, and printed
  --seconds N       how long (default 30); or --minutes N
  --processes N     how many processes (default 3), each with
  --threads N       so many threads (default 4); every other one writes
  --policy TEXT     the routing policy in text form (default: sticky(least-lag))

Each write inserts a number of its own; half of them ask for exactly_once. When all is over the table is compared with
what the writers were told, and all nodes with each other. Wrong is: an acknowledged write that is not there, a write
that is there twice, one that was reported as not done and is there, an exactly_once write left in doubt (unless its
server's timeline ended with a promotion), a session that missed its own write, writes that reached a fenced node, and a
failed read of a session that had written nothing. Reads of a session that has just written ("own reads") may fail while
no node can be proven to have the write: they are counted.

The routers run with default options, but that a node which fails again and again is asked again after 2 s at the latest.

Promotions: with asynchronous replication PostgreSQL itself loses writes that no replica had received when the primary
died. So before a primary is killed to be replaced its commits are made to wait for one replica, and the replica that
has received most is promoted. Everything else runs with asynchronous replication.

Exit code: 0 when nothing was wrong, 1 when something was, 2 for anything else.
)";

/// A router that looks at the cluster as an application does.
class Observer {
 public:
  explicit Observer(Options options) : replicas_{options.replicas.size()}, db_{std::move(options)} {}

  void wait_until_normal() {
    testing::eventually(
        "all is normal again", 60s, [&] { return is_normal(); }, [&] { return db_.status().text(); });
  }

 private:
  bool is_normal() {
    db_.read([](auto& tx) { tx.exec("SELECT 1"); });
    auto const status = db_.status();
    auto const explanation = db_.explain({.max_staleness = 1s});
    auto const eligible = std::count_if(explanation.nodes.begin(), explanation.nodes.end(),
                                        [](auto const& node) { return node.verdict == Verdict::eligible; });
    if (status.is_split || status.primary.empty() || static_cast<std::size_t>(eligible) != replicas_) {
      return false;
    }
    db_.write(WriteOptions{.deadline = 1s}, [](auto& tx) { tx.exec("SELECT 1"); });
    return true;
  }

  std::size_t replicas_;
  ReplicaRouter<> db_;
};

double seconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e9; }

void print_table(Ledger const& ledger) {
  fmt::print("\n{:<30}{:>6} |{:>8}{:>7}{:>9} |{:>7}{:>7} |{:>8}{:>8}{:>9}{:>6}{:>8} |{:>8}{:>8}\n", "", "", "reads",
             "reads", "longest", "own", "own", "writes", "writes", "writes", "acks", "longest", "normal", "again");
  fmt::print("{:<30}{:>6} |{:>8}{:>7}{:>9} |{:>7}{:>7} |{:>8}{:>8}{:>9}{:>6}{:>8} |{:>8}{:>8}\n", "trouble", "times",
             "tried", "failed", "read", "reads", "failed", "tried", "acked", "in doubt", "lost", "pause", "median",
             "most");
  for (auto const& [name, line] : ledger.lines) {
    auto times = line.until_normal;
    std::sort(times.begin(), times.end());
    fmt::print("{:<30}{:>6} |{:>8}{:>7}{:>7.2f} s |{:>7}{:>7} |{:>8}{:>8}{:>9}{:>6}", name, line.times, line.reads,
               line.reads_failed, seconds(line.longest_read), line.own_reads, line.own_reads_failed, line.writes,
               line.writes_acknowledged, line.writes_in_doubt, line.writes_lost);
    if (times.empty()) {
      fmt::print("{:>8} |{:>8}{:>8}\n", "", "", "");
    } else {
      fmt::print("{:>6.2f} s |{:>6.2f} s{:>6.2f} s\n", seconds(line.longest_write_pause),
                 seconds(times[times.size() / 2]), seconds(times.back()));
    }
  }
  fmt::print("(longest pause: without any acknowledged write; normal again: after the last thing was mended)\n");
}

std::map<std::uint64_t, int> entries_of(testing::ClusterNode const& node) {
  std::map<std::uint64_t, int> out;
  std::istringstream numbers{node.query("SELECT string_agg(id::text, ' ') FROM entry")};
  for (std::uint64_t id = 0; numbers >> id;) {
    ++out[id];
  }
  return out;
}

int run(testing::RunRequest const& request) {
  auto const repeat = command_of("chaos_runner", request);
  fmt::print("{}\n", repeat);
  testing::Cluster cluster{{.replicas = 3, .settings = {"max_standby_streaming_delay = 200ms"}}};
  cluster.primary().execute(load_definition());
  cluster.wait_until_caught_up();
  FaultStage stage{cluster};
  auto conninfos = stage.conninfos();
  for (auto& conninfo : conninfos) {
    conninfo += fmt::format(" user={}", load_role);
  }
  auto const directory = cluster.directory() / "operations";
  std::filesystem::create_directory(directory);
  Observer observer{options_for_load(conninfos)};
  observer.wait_until_normal();
  testing::WorkerFleet workers{request, conninfos, directory};

  std::vector<Trouble> troubles;
  std::vector<std::string> violations;
  TroubleDeck deck{request.seed, trouble_kinds(), stage.size() - 1};
  testing::StopSign never_raised;
  auto const began = nanoseconds_now();
  auto const until = std::chrono::steady_clock::now() + request.duration;
  while (std::chrono::steady_clock::now() < until) {
    auto const card = deck.draw();
    never_raised.pause(card.pause_before);
    workers.check();
    Trouble trouble{std::string{card.kind.name}, nanoseconds_now(), 0, 0, card.kind.settling};
    fmt::print("{:>7.1f} s: {}", seconds(trouble.began - began), trouble.name);
    std::fflush(stdout);
    card.kind.make_and_mend({stage, card.replica, card.duration, [&] { observer.wait_until_normal(); }, violations});
    trouble.mended = nanoseconds_now();
    observer.wait_until_normal();
    trouble.normal = nanoseconds_now();
    fmt::print(", mended after {:.2f} s, normal {:.2f} s later\n", seconds(trouble.mended - trouble.began),
               seconds(trouble.normal - trouble.mended));
    std::fflush(stdout);
    troubles.push_back(std::move(trouble));
  }
  never_raised.pause(500ms);
  workers.stop();

  auto const operations = testing::operations_in(directory);
  auto const entries = entries_of(stage.node(0));
  for (std::size_t i = 1; i < stage.size(); ++i) {
    stage.node(i).wait_until_caught_up_with(stage.node(0));
    if (entries_of(stage.node(i)) != entries) {
      violations.push_back(stage.node(i).name() + " has other rows than the primary");
    }
  }
  auto const ledger = reckon(operations, entries, troubles);
  violations.insert(violations.end(), ledger.violations.begin(), ledger.violations.end());
  print_table(ledger);
  constexpr std::size_t shown = 20;
  for (std::size_t i = 0; i < std::min(shown, violations.size()); ++i) {
    fmt::print("WRONG: {}\n", violations[i]);
  }
  bool const is_good = violations.empty() && !entries.empty();
  fmt::print("\n{}: {} operations, {} troubles, {} things wrong; to repeat: {}\n", is_good ? "good" : "FAILED",
             operations.size(), troubles.size(), violations.size(), repeat);
  return is_good ? 0 : violations_found;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const request = testing::run_request_of({argv + 1, argv + argc}, {help_flag});
    static_cast<void>(AnyPolicy::parse(request.policy));  // a wrong text is better told here than by each worker
    if (request.flags.count(help_flag) > 0) {
      fmt::print("{}", help);
      return 0;
    }
    if (request.task) {
      run_load(*request.task);
      return 0;
    }
    return run(request);
  } catch (std::exception const& error) {
    fmt::print(stderr, "\nchaos_runner: {}\n", error.what());
    return wrong_usage;
  }
}
