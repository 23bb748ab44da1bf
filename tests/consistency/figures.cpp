#include "consistency/figures.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "consistency/sessions.hpp"
#include "replica_router/replica_router.hpp"
#include "support/eventually.hpp"
#include "support/worker_process.hpp"

namespace replica_router::consistency {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto increment = "UPDATE truth SET version = version + 1 WHERE key = $1";
constexpr int thread_count = 4;

template <class Router>
void wait_until_all_serve(Router& db, std::size_t replicas) {
  testing::eventually(
      "every replica is proven fresh", 30s,
      [&] {
        auto const explanation = db.explain({.max_staleness = 1s});
        db.read([](auto&) {});
        return static_cast<std::size_t>(std::count_if(
                   explanation.nodes.begin(), explanation.nodes.end(),
                   [](NodeExplanation const& node) { return node.verdict == Verdict::eligible; })) == replicas;
      },
      [&] { return db.status().text(); });
}

/// Runs `step(thread)` over and over in several threads for a time.
template <class Step>
void in_threads(std::chrono::seconds duration, Step step) {
  auto const until = Clock::now() + duration;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < thread_count; ++thread) {
    threads.emplace_back([&, thread] {
      while (Clock::now() < until) {
        step(thread);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
}

void print_share_after_write(Options const& options, std::chrono::seconds duration, std::chrono::milliseconds pause) {
  ReplicaRouter db{options};
  wait_until_all_serve(db, options.replicas.size());
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> by_replicas{0};
  testing::StopSign never_raised;
  in_threads(duration, [&](int thread) {
    auto session = db.session();
    session.write([&](auto& tx) { tx.exec(increment, pqxx::params{thread}); });
    never_raised.pause(pause);
    auto const lease = session.read();
    ++reads;
    by_replicas += lease.served_by() == "primary" ? 0U : 1U;
  });
  fmt::print("  reads {} after a commit of their session: {:.1f} % served by replicas ({} of {})\n",
             readable(Duration{pause}), 100.0 * static_cast<double>(by_replicas) / static_cast<double>(reads.load()),
             by_replicas.load(), reads.load());
}

void print_quiet_bound(Options const& options, std::chrono::seconds duration) {
  ReplicaRouter db{options};
  wait_until_all_serve(db, options.replicas.size());
  std::mutex mutex;
  std::vector<Duration> bounds;
  testing::StopSign never_raised;
  in_threads(duration, [&](int) {
    auto const lease = db.read();
    if (lease.served_by() != "primary") {
      std::lock_guard guard{mutex};
      bounds.push_back(lease.staleness());
    }
    never_raised.pause(1ms);
  });
  if (bounds.empty()) {
    throw std::runtime_error{"no replica served a read on a quiet cluster"};
  }
  std::sort(bounds.begin(), bounds.end());
  fmt::print(
      "  gap between proven bound and true staleness (zero) on a quiet cluster: median {}, largest {} of {}; "
      "two probe intervals are {}\n",
      readable(bounds[bounds.size() / 2]), readable(bounds.back()), bounds.size(),
      readable(Duration{2 * options.probe_interval}));
}

double round_trips_a_write(testing::FaultStage& stage, Options options, CaptureTokens capture) {
  // Nothing but the writes is to cross the link while it is counted: each node is probed once.
  options.capture_tokens = capture;
  options.probe_interval = 1h;
  options.idle_probe_interval = 1h;
  options.nudge_interval = 1h;
  ReplicaRouter db{options};
  auto const write = [&] { db.write([](auto& tx) { tx.exec(increment, pqxx::params{0}); }); };
  if (!db.wait_until_ready(30s)) {
    throw std::runtime_error{"the cluster does not answer:\n" + db.status().text()};
  }
  write();
  constexpr int writes = 500;
  auto const before = stage.link(0).round_trip_count();
  for (int i = 0; i < writes; ++i) {
    write();
  }
  return static_cast<double>(stage.link(0).round_trip_count() - before) / writes;
}

}  // namespace

void print_figures(testing::FaultStage& stage, std::chrono::seconds duration) {
  auto const options = testing::options_for(stage.conninfos());
  fmt::print("on a healthy cluster of a primary and {} replicas, {} threads, default options:\n",
             options.replicas.size(), thread_count);
  print_share_after_write(options, duration, 20ms);
  print_share_after_write(options, duration, 2ms);
  print_quiet_bound(options, duration);
  auto const without = round_trips_a_write(stage, options, CaptureTokens::off);
  auto const with = round_trips_a_write(stage, options, CaptureTokens::always);
  fmt::print(
      "  round trips of a write of one statement, counted on the wire: {:.3f} without a token, {:.3f} with one: "
      "{:.3f} more\n",
      without, with, with - without);
}

}  // namespace replica_router::consistency
