// Does every read see what it was promised, whatever goes wrong meanwhile? `--help` tells how that is found out.

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "consistency/figures.hpp"
#include "consistency/judge.hpp"
#include "consistency/sessions.hpp"
#include "replica_router/policies/any_policy.hpp"
#include "support/fault_schedule.hpp"
#include "support/worker_process.hpp"
#include "support/worker_process_record.hpp"
#include "support/worker_process_run.hpp"

namespace {

using namespace replica_router;
using namespace replica_router::consistency;
using namespace std::chrono_literals;
using testing::Fault;
using testing::FaultLane;
using testing::FaultPlan;
using testing::FaultStage;
using testing::PlannedFault;
using testing::RunRequest;

constexpr int violations_found = 1;
constexpr int wrong_usage = 2;

constexpr auto help = R"(consistency_checker: does every read see what it was promised, whatever goes wrong meanwhile?

A primary and three replicas are started. Several processes run sessions on them, through links, while a schedule drawn
from the seed delays, pauses and cuts replication, delays, stalls and drops links, and kills, stops and restarts
servers. Every operation is recorded, with this machine's monotonic time, and judged when all is over.

  --seed N              repeats a schedule; default: drawn, and printed
  --seconds N           how long (default 30); or --minutes N
  --processes N         how many processes run sessions (default 3), each with
  --threads N           so many threads (default 4)
  --policy TEXT         the routing policy in text form (default: sticky(least-lag))
  --expect-violations   succeed only when sessions missed writes, and nothing else was broken: what a policy without
                        any demand, such as round-robin, must show
  --figures             measure, on a healthy cluster, how many reads after a write replicas serve, how close the proven
                        staleness bound is to the truth, and what a token costs

What is written: a row a key with its version, which each write raises by one while it holds the row; so the versions
of a key are in the order of its commits. A read asks for 16 keys in one statement. One key of one read held against
one floor above zero is one check; the floors are the highest version that
  read your writes   this session had written, acknowledged before the read was asked for
  token              the session that issued a token had to see, where this session or read was handed the token
  monotonic reads    an earlier read of the session had seen, both reads having asked for it
  staleness bound    was acknowledged before the read was asked for, less the bound that its lease told
  max_staleness      was acknowledged before the read was asked for, less the limit that it asked for
  writes kept        was acknowledged at all: held against the primary when all is over
A read that failed is no violation; it is counted. A write in doubt is neither required nor forbidden.

The gap that --figures tells: nothing is written and every replica has all there is, so the true staleness of each read
is zero, and the whole bound of its lease is the gap.

Exit code: 0 when all promises were kept, 1 when not, 2 for anything else.
)";

constexpr auto expect_violations = "--expect-violations";
constexpr auto figures = "--figures";
constexpr auto help_flag = "--help";

/// What was drawn, by fault and by the part of the node.
class FaultTally {
 public:
  void add(PlannedFault const& planned) {
    std::lock_guard guard{mutex_};
    ++counts_[std::pair{planned.node == 0 ? "primary" : "replica", text_of(planned.fault)}];
  }
  [[nodiscard]] int total() {
    std::lock_guard guard{mutex_};
    int out = 0;
    for (auto const& [what, count] : counts_) {
      out += count;
    }
    return out;
  }
  void print() {
    std::lock_guard guard{mutex_};
    fmt::print("\nfaults drawn\n");
    for (auto const& [what, count] : counts_) {
      fmt::print("  {:<30}{:>12}\n", fmt::format("{} {}", what.first, what.second), count);
    }
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string_view, std::string_view>, int> counts_;
};

/// Each node has its own series of faults, so several are in trouble at once.
std::vector<std::unique_ptr<FaultLane>> start_faults(FaultStage& stage, std::uint64_t seed, FaultTally& tally) {
  std::vector<Fault> const of_replicas{Fault::replay_delay, Fault::replay_delay, Fault::replay_delay,
                                       Fault::replay_pause, Fault::replay_pause, Fault::receiver_cut,
                                       Fault::receiver_cut, Fault::link_delay,   Fault::link_stall,
                                       Fault::link_drop,    Fault::kill,         Fault::stop};
  std::vector<Fault> const of_primary{Fault::crash,      Fault::kill,      Fault::link_delay,
                                      Fault::link_stall, Fault::link_drop, Fault::answers_lost};
  FaultPlan::Limits const primary_limits{3s, 7s, 200ms, 1'500ms};
  std::vector<std::unique_ptr<FaultLane>> out;
  for (std::size_t node = 0; node < stage.size(); ++node) {
    FaultPlan plan{seed * 64 + node,
                   node == 0 ? of_primary : of_replicas,
                   {node},
                   node == 0 ? primary_limits : FaultPlan::Limits{}};
    out.push_back(
        std::make_unique<FaultLane>(stage, std::move(plan), [&](PlannedFault const& planned) { tally.add(planned); }));
  }
  return out;
}

void print_violation(Violation const& violation, std::vector<Operation> const& operations, FaultStage& stage,
                     std::int64_t began) {
  auto const& operation = violation.operation;
  auto const seconds = [](std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e9; };
  fmt::print("  {}: session {:x} on {}, {} from {:.6f} s to {:.6f} s: key {} had to be at version {}, seen: {}",
             text_of(violation.guarantee), operation.session, stage.name_of(operation.port),
             operation.kind == OperationKind::write ? "write"
             : operation.is_lease                   ? "lease"
                                                    : "read",
             seconds(operation.began - began), seconds(operation.ended - began), violation.key, violation.required,
             violation.seen);
  if (operation.bound >= 0) {
    fmt::print("; bound of the lease {:.6f} s", seconds(operation.bound));
  }
  if (operation.max_staleness >= 0) {
    fmt::print("; max_staleness {:.6f} s", seconds(operation.max_staleness));
  }
  fmt::print("\n");
  for (auto const& write : operations) {
    if (write.kind == OperationKind::write && write.outcome == Outcome::done && write.key == violation.key &&
        write.versions.at(0) == violation.required) {
      fmt::print("    required by a write{} of session {:x} from {:.6f} s to {:.6f} s\n",
                 write.is_exactly_once ? " (exactly_once)" : "", write.session, seconds(write.began - began),
                 seconds(write.ended - began));
    }
  }
}

void print_table(std::vector<Operation> const& operations, Judgement const& judgement, FaultStage& stage,
                 std::int64_t began) {
  struct Count {
    std::string name;
    std::uint64_t done = 0;
    std::uint64_t failed = 0;
    std::uint64_t in_doubt = 0;
  };
  std::array<Count, 5> counts{
      {{"reads by read(fn)"}, {"reads by a lease"}, {"writes"}, {"tokens issued"}, {"tokens taken in"}}};
  std::uint64_t by_primary = 0;
  std::map<std::string, std::uint64_t> reasons;
  for (auto const& operation : operations) {
    auto& count = [&]() -> Count& {
      switch (operation.kind) {
        case OperationKind::read: return operation.is_lease ? counts[1] : counts[0];
        case OperationKind::write: return counts[2];
        case OperationKind::token_issued: return counts[3];
        case OperationKind::token_observed: return counts[4];
      }
      throw std::logic_error{"an operation of no kind"};
    }();
    switch (operation.outcome) {
      case Outcome::done: ++count.done; break;
      case Outcome::failed: ++count.failed; break;
      case Outcome::in_doubt: ++count.in_doubt; break;
    }
    if (operation.outcome != Outcome::done) {
      constexpr std::size_t enough = 120;
      auto const reason = operation.message.substr(0, std::min(enough, operation.message.find_first_of(";(")));
      ++reasons[fmt::format("{}: {}", count.name, reason)];
    } else if (operation.kind == OperationKind::read && operation.port == stage.node(0).port()) {
      ++by_primary;
    }
  }
  fmt::print("\n{:<32}{:>12}{:>12}{:>12}\n", "operations", "done", "failed", "in doubt");
  for (auto const& count : counts) {
    fmt::print("  {:<30}{:>12}{:>12}{:>12}\n", count.name, count.done, count.failed, count.in_doubt);
  }
  auto const reads = counts[0].done + counts[1].done;
  fmt::print("  {:<30}{:>11.1f}%\n", "of the reads by replicas",
             reads == 0 ? 0.0 : 100.0 * static_cast<double>(reads - by_primary) / static_cast<double>(reads));
  fmt::print("  (a lease's statement is not run again when its node fails under it; read(fn) does that)\n");

  fmt::print("\nwhy they failed, the most frequent\n");
  std::vector<std::pair<std::uint64_t, std::string>> sorted;
  for (auto const& [reason, times] : reasons) {
    sorted.emplace_back(times, reason);
  }
  std::sort(sorted.rbegin(), sorted.rend());
  constexpr std::size_t most_frequent = 8;
  for (std::size_t i = 0; i < std::min(most_frequent, sorted.size()); ++i) {
    fmt::print("  {:>8} x {}\n", sorted[i].first, sorted[i].second);
  }

  fmt::print("\n{:<32}{:>12}{:>12}\n", "promises", "checks", "violations");
  for (std::size_t i = 0; i < guarantee_count; ++i) {
    fmt::print("  {:<30}{:>12}{:>12}\n", text_of(Guarantee{i}), judgement.checks[i], judgement.violations[i]);
  }
  fmt::print("  {:<30}{:>12}{:>12}\n", "all", judgement.all_checks(), judgement.all_violations());
  for (auto const& violation : judgement.examples) {
    print_violation(violation, operations, stage, began);
  }
}

int check(RunRequest const& request) {
  bool const expects_violations = request.flags.count(expect_violations) > 0;
  auto const repeat = command_of("consistency_checker", request);
  fmt::print("{}\n", repeat);
  testing::Cluster cluster{{.replicas = 3}};
  cluster.primary().execute(table_definition());
  cluster.wait_until_caught_up();
  FaultStage stage{cluster};
  auto const directory = cluster.directory() / "operations";
  std::filesystem::create_directory(directory);
  auto const began = testing::nanoseconds_now();
  auto const until = std::chrono::steady_clock::now() + request.duration;
  FaultTally tally;
  testing::WorkerFleet workers{request, stage.conninfos(), directory};
  auto lanes = start_faults(stage, request.seed, tally);
  testing::StopSign never_raised;
  for (auto left = request.duration; left > 0s;
       left = std::chrono::ceil<std::chrono::seconds>(until - std::chrono::steady_clock::now())) {
    never_raised.pause(std::min(left, 10s));
    fmt::print("{:>6.1f} s: {} faults, {} operations\n", static_cast<double>(testing::nanoseconds_now() - began) / 1e9,
               tally.total(), testing::operation_count(directory));
    std::fflush(stdout);
    workers.check();
    for (auto const& lane : lanes) {
      if (lane->has_failed()) {
        lane->stop();
      }
    }
  }
  for (auto const& lane : lanes) {
    lane->stop();
  }
  workers.stop();
  std::vector<std::uint32_t> final_versions;
  for (int key = 0; key < key_count; ++key) {
    final_versions.push_back(static_cast<std::uint32_t>(
        std::stoul(cluster.primary().query(fmt::format("SELECT version FROM truth WHERE key = {}", key)))));
  }
  auto const operations = testing::operations_in(directory);
  auto const judgement = Judge{}.judge(operations, final_versions);
  tally.print();
  print_table(operations, judgement, stage, began);
  auto const of_sessions = judgement.violations[static_cast<std::size_t>(Guarantee::read_your_writes)] +
                           judgement.violations[static_cast<std::size_t>(Guarantee::token)];
  bool const is_as_expected = expects_violations ? of_sessions > 0 && of_sessions == judgement.all_violations()
                                                 : judgement.all_violations() == 0;
  fmt::print("\n{}; to repeat: {}\n",
             judgement.all_checks() == 0 ? "FAILED: nothing was checked"
             : is_as_expected            ? "as expected"
             : expects_violations ? "FAILED: expected are violations of what a session has written, and no others"
                                  : "FAILED: promises were broken",
             repeat);
  return is_as_expected && judgement.all_checks() > 0 ? 0 : violations_found;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const request = testing::run_request_of({argv + 1, argv + argc}, {expect_violations, figures, help_flag});
    static_cast<void>(AnyPolicy::parse(request.policy));  // a wrong text is better told here than by each worker
    if (request.flags.count(help_flag) > 0) {
      fmt::print("{}", help);
    } else if (request.task) {
      run_sessions(*request.task);
    } else if (request.flags.count(figures) > 0) {
      testing::Cluster cluster{{.replicas = 3}};
      cluster.primary().execute(table_definition());
      cluster.wait_until_caught_up();
      FaultStage stage{cluster};
      print_figures(stage, request.duration);
    } else {
      return check(request);
    }
    return 0;
  } catch (std::exception const& error) {
    fmt::print(stderr, "consistency_checker: {}\n", error.what());
    return wrong_usage;
  }
}
