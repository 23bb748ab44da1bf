// Do threads get in each other's way? One router, a pool of eight a node, 1 to 64 threads.
#include <chrono>
#include <string>
#include <thread>

#include "memory_backend.hpp"
#include "report.hpp"
#include "rounds.hpp"
#include "test_table.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr int counts[] = {1, 2, 4, 8, 16, 32, 64};

/// The rate at each number of threads, of two kinds of reads, and a row for each number.
template <class MakeFast, class MakeSlow, class MakeFree>
void measure(Report& report, MakeFast fast, MakeSlow slow, MakeFree free) {
  std::vector<Side> sides;
  for (int const threads : counts) {
    sides.push_back({{}, [=] { return rate_of(threads, 150ms, fast); }});
    sides.push_back({{}, [=] { return rate_of(threads, 250ms, slow); }});
    sides.push_back({{}, [=] { return rate_of(threads, 60ms, free); }});
  }
  Rounds const figures{sides, 5};
  auto& table =
      report.table("Reads a second on one router with two replicas and at most 8 connections to each",
                   {"threads", "point selects", "of 8 threads'", "4 ms of server time each",
                    "of what 16 connections allow", "no server: the router alone", "of one thread's", "goal"});
  auto data = report.data("", "threads, point selects/s, 4 ms reads/s, reads/s without a server");
  constexpr std::size_t at_eight = 3;
  constexpr std::size_t at_sixteen = 4;  // from here on every connection is busy
  for (std::size_t i = 0; i < std::size(counts); ++i) {
    auto const point = figures.ratio(3 * i, 3 * at_eight);
    bool const is_busy = i >= at_sixteen;
    auto const allowed = std::min(counts[i], 16) / 0.004;
    auto const slow_share = figures.median(3 * i + 1) / allowed;
    table.add({number(counts[i]), number(figures.median(3 * i)), number(point, 2), number(figures.median(3 * i + 1)),
               number(slow_share, 2), number(figures.median(3 * i + 2)), number(figures.ratio(3 * i + 2, 2), 2),
               is_busy ? goal("flat from 16 on", figures.ratio(3 * i + 1, 3 * at_sixteen + 1) >= 0.95) : no_goal()});
    data << counts[i] << " " << figures.median(3 * i) << " " << figures.median(3 * i + 1) << " "
         << figures.median(3 * i + 2) << "\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("threads", argc, argv, [](Report& report) {
    testing::Cluster cluster{{.replicas = 2}};
    make_test_table(cluster);
    auto options = options_for(cluster);
    options.max_connections = 8;
    auto const db = make_router(options, StickyAfterWrite<LeastLag>{});
    ReplicaRouter memory{options, StickyAfterWrite<LeastLag>{}, MemoryBackend{}};
    measure(
        report,
        [&](int thread) { return [&db, keys = Keys{thread * 37}]() mutable { read_point(*db->read(), keys.next()); }; },
        [&](int) { return [&db] { db->read()->exec("SELECT pg_sleep(0.004)"); }; },
        [&](int) { return [&memory] { static_cast<void>(memory.read()); }; });
    report.note(fmt::format(
        "Flat is judged by the reads of 4 ms: 95 % of the throughput at 16 threads, where all 16 connections are busy. "
        "Point selects saturate this machine's {} cores: the servers, not the router. Reads of 4 ms leave the cores "
        "idle, so what they reach of what 16 connections allow shows what waiting in the pool costs. Without a server "
        "all time is the router's own: the pools' locks, which no real read asks for as often.",
        std::thread::hardware_concurrency()));
  });
}
