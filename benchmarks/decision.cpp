// What does one routing decision cost? Judging all nodes for a read and having the policy choose, without any I/O.
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "allocations.hpp"
#include "memory_backend.hpp"
#include "report.hpp"
#include "rounds.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr auto span = 12ms;
constexpr int rounds = 5;

Options options_of(std::size_t replicas) {
  Options out;
  out.primary = {"host=primary", {.name = "primary"}};
  for (std::size_t i = 1; i <= replicas; ++i) {
    auto const name = "replica-" + std::to_string(i);
    out.replicas.push_back({"host=" + name, {.name = name, .zone = i % 2 == 0 ? "even" : "odd"}});
  }
  out.zone = "even";
  return out;
}

/// A cluster without servers and a policy, and the steps of `ReadRoute` up to the node, without the lease.
template <class Policy>
class Decider {
 public:
  Decider(std::size_t replicas, Policy policy)
      : cluster_{validated(options_of(replicas)), backend_}, monitor_{cluster_, backend_}, policy_{std::move(policy)} {
    ProbedAtStart{monitor_};
  }

  std::size_t operator()(ReadTerms const& terms, CausalState const& session) {
    auto const& options = cluster_.options();
    // A decision is told the moment; reading the clock is measured beside it.
    ReadRequest request{.now = now_, .last_commit = session.last_commit, .zone = options.zone};
    auto const contract = contract_for(terms, policy_, request, session);
    request.entropy = backend_.entropy();
    ViewList views;
    gather_eligible(views, cluster_, contract, request, nothing_failed_);
    auto const eligible = views.all();
    if (eligible.empty()) {
      throw std::runtime_error{"no replica is eligible"};
    }
    return policy_.choose(request, eligible).value();
  }

  /// What a read asks for that says nothing itself.
  ReadTerms terms() const { return terms_of(cluster_.options()); }

  /// The state of a session whose last write every replica is proven to have.
  CausalState after_a_proven_write() const {
    CausalState out;
    out.last_commit = {Lsn{0x1000'0000}, 1, backend_.now()};
    return out;
  }

 private:
  MemoryBackend backend_;
  Cluster<MemoryBackend> cluster_;
  Monitor<MemoryBackend> monitor_;
  Policy policy_;
  TimePoint now_ = backend_.now();
  std::vector<NodeId> nothing_failed_;
};

/// Allocations of one call once everything is warm.
template <class Operation>
double allocations_of(Operation&& operation) {
  for (int i = 0; i < 64; ++i) {
    operation();
  }
  constexpr int calls = 256;
  auto const before = allocations_of_this_thread().count;
  for (int i = 0; i < calls; ++i) {
    operation();
  }
  return static_cast<double>(allocations_of_this_thread().count - before) / calls;
}

/// Nanoseconds of the processor that this thread has had.
double processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/// The nanoseconds of one call on each of so many threads at once. Of the processor's time, so that other programs and
/// the lack of a second core count for nothing, but what threads do to each other's caches does. What a call gives is
/// kept by each thread for itself: a common place to put it would be the one thing that the threads write to in turn.
template <class Operation>
double time_on(int threads, std::size_t replicas, Operation operation) {
  auto const work = [operation, batch = replicas >= 1000 ? 8 : 256] {
    auto const end = Clock::now() + span;
    auto const begin = processor_time();
    int calls = 0;
    [[maybe_unused]] volatile decltype(operation()) sink{};
    while (Clock::now() < end) {
      for (int i = 0; i < batch; ++i) {
        sink = operation();
      }
      calls += batch;
    }
    return (processor_time() - begin) / calls;
  };
  std::vector<std::future<double>> workers;
  for (int thread = 0; thread < threads; ++thread) {
    workers.push_back(std::async(std::launch::async, work));
  }
  double sum = 0;
  for (auto& worker : workers) {
    sum += worker.get();
  }
  return sum / threads;
}

template <class Make>
void measure_policy(Table& table, std::string const& name, Make make, ReadOptions const& read = {},
                    bool has_written = false) {
  constexpr std::array<std::size_t, 4> sizes{2, 8, 64, 1000};
  using Policy = decltype(make());
  std::vector<std::unique_ptr<Decider<Policy>>> deciders;
  std::vector<Side> sides;
  std::vector<double> allocations;
  for (auto const size : sizes) {
    auto& decider = *deciders.emplace_back(std::make_unique<Decider<Policy>>(size, make()));
    auto const session = has_written ? decider.after_a_proven_write() : CausalState{};
    auto const terms = amended(decider.terms(), read);
    auto const decide = [&, session, terms] { return decider(terms, session); };
    allocations.push_back(allocations_of(decide));
    for (int const threads : {1, 2}) {
      sides.push_back({std::to_string(threads), [=] { return time_on(threads, size, decide); }});
    }
  }
  Rounds const figures{sides, rounds};
  std::vector<Cell> row{words(name)};
  for (std::size_t i = 0; i < sides.size(); ++i) {
    row.push_back(number(figures.median(i), figures.median(i) < 100 ? 1 : 0));
  }
  row.push_back(number(std::max(allocations[0], allocations[1])));
  row.push_back(number(allocations[2], 0));
  row.push_back(number(allocations[3], 0));
  row.push_back(goal("< 100 ns, none",
                     figures.median(0) < 100 && figures.median(2) < 100 && allocations[0] == 0 && allocations[1] == 0));
  table.add(std::move(row));
}

/// A whole `read()`: decision, lease of a connection that is none, and its return.
void measure_read(Table& table, std::size_t replicas) {
  ReplicaRouter db{options_of(replicas), StickyAfterWrite<LeastLag>{}, MemoryBackend{}};
  auto const read = [&] { return &*db.read(); };
  auto const allocations = allocations_of(read);
  std::vector<Side> sides;
  for (int const threads : {1, 2}) {
    sides.push_back({std::to_string(threads), [=] { return time_on(threads, replicas, read); }});
  }
  Rounds const figures{sides, rounds};
  table.add({number(static_cast<double>(replicas)), number(figures.median(0)), number(figures.median(1)),
             number(allocations, 1)});
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("decision", argc, argv, [](Report& report) {
    auto& table = report.table(
        "One routing decision: random bits, contract, judging every node, the policy's choice. Nanoseconds of "
        "processor "
        "time; replicas x threads",
        {"policy", "2x1", "2x2", "8x1", "8x2", "64x1", "64x2", "1000x1", "1000x2", "allocations to 8", "at 64",
         "at 1000", "goal at 2 and 8, one thread"});
    measure_policy(table, "sticky(least-lag), the default", [] { return StickyAfterWrite<LeastLag>{}; });
    measure_policy(
        table, "the same after a write, proven", [] { return StickyAfterWrite<LeastLag>{}; }, {}, true);
    measure_policy(table, "round-robin", [] { return RoundRobin{}; });
    measure_policy(table, "random", [] { return Random{}; });
    measure_policy(table, "least-in-flight", [] { return LeastInFlight{}; });
    measure_policy(table, "least-lag", [] { return LeastLag{}; });
    measure_policy(table, "lowest-latency", [] { return LowestLatency{}; });
    measure_policy(table, "within-staleness(least-lag, bound=1h)", [] { return WithinStaleness<LeastLag>{1h}; });
    measure_policy(table, "prefer-zone(least-lag)", [] { return PreferZone<LeastLag>{}; });
    measure_policy(table, "sticky(least-lag) as AnyPolicy", [] { return AnyPolicy{}; });

    auto& whole = report.table(
        "A whole read() with the default policy and connections that do nothing: the decision, the lease, its return. "
        "Nanoseconds of processor time",
        {"replicas", "1 thread", "2 threads", "allocations"});
    for (std::size_t const replicas : {2U, 8U, 64U, 1000U}) {
      measure_read(whole, replicas);
    }
    MemoryBackend const backend;
    report.note(
        fmt::format("A read also reads the clock, before its decision: {:.0f} ns here. ",
                    time_on(1, 1, [&] { return backend.now().time_since_epoch().count(); })) +
        "The cost grows with the number of replicas, as every policy promises: each of them is judged and shown to it. "
        "With two threads each thread's calls are timed by its own processor time: where the figure stays, threads do "
        "not hinder each other.");
  });
}
