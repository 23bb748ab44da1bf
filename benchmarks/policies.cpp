// Which policy for which trouble? Every policy on the same unequal replicas: one well, one slow, one lagging, one
// flapping.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "report.hpp"
#include "rounds.hpp"
#include "support/tcp_link.hpp"
#include "test_table.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr int readers = 8;
constexpr auto span = 2500ms;
constexpr auto replay_delay = 1500ms;
constexpr auto slowness_each_way = 4ms;

/// Runs `work` again and again on a thread of its own until it goes out of scope.
class Repeating {
 public:
  template <class Work>
  explicit Repeating(Work work)
      : done_{std::async(std::launch::async, [this, work]() mutable {
          while (!is_stopping_.load()) {
            work();
          }
        })} {}
  Repeating(Repeating const&) = delete;
  Repeating& operator=(Repeating const&) = delete;
  ~Repeating() { is_stopping_.store(true); }
  /// Throws: what the work threw.
  void stop() {
    is_stopping_.store(true);
    done_.get();
  }

 private:
  std::atomic<bool> is_stopping_{false};
  std::future<void> done_;
};

/// What the reads of one policy were like.
struct Outcome {
  std::vector<double> latencies;  ///< milliseconds
  std::vector<double> ages;       ///< of the data that was read, milliseconds
  std::vector<double> shares;     ///< of the nodes, the primary first, percent
  std::uint64_t retries = 0;
};

Outcome read_under(AnyPolicy policy, Options const& options) {
  ReplicaRouter<AnyPolicy> db{options, std::move(policy)};
  db.wait_until_ready(5s);
  // The lag of a replica is known only once the router has watched the primary for as long as that.
  auto const watching = Clock::now() + replay_delay + 300ms;
  while (Clock::now() < watching) {
    db.read([](auto&) {});
    std::this_thread::sleep_for(5ms);
  }
  auto const before = db.status();
  auto const end = Clock::now() + span;
  std::vector<std::future<Outcome>> workers;
  for (int i = 0; i < readers; ++i) {
    workers.push_back(std::async(std::launch::async, [&] {
      Outcome own;
      while (Clock::now() < end) {
        auto const begin = Clock::now();
        auto const age = db.read([](auto& tx) {
          return tx.template query_value<double>(
              "SELECT 1000 * extract(epoch FROM clock_timestamp() - (SELECT at FROM beat))");
        });
        own.latencies.push_back(milliseconds_of(Clock::now() - begin));
        own.ages.push_back(age);
        std::this_thread::sleep_for(500us);
      }
      return own;
    }));
  }
  Outcome all;
  for (auto& worker : workers) {
    auto const own = worker.get();
    all.latencies.insert(all.latencies.end(), own.latencies.begin(), own.latencies.end());
    all.ages.insert(all.ages.end(), own.ages.begin(), own.ages.end());
  }
  auto const status = db.status();
  double sum = 0;
  for (std::size_t i = 0; i < status.nodes.size(); ++i) {
    all.shares.push_back(static_cast<double>(status.nodes[i].reads - before.nodes[i].reads));
    sum += all.shares.back();
  }
  for (auto& share : all.shares) {
    share *= 100 / sum;
  }
  all.retries = status.retries - before.retries;
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("policies", argc, argv, [](Report& report) {
    testing::Cluster cluster{{.replicas = 4}};
    cluster.primary().execute("CREATE TABLE beat (at timestamptz NOT NULL); INSERT INTO beat VALUES (now())");
    cluster.wait_until_caught_up();
    testing::TcpLink link{cluster.replica(1).port()};
    link.set_delay(slowness_each_way);
    cluster.replica(2).delay_replay(replay_delay);

    Options options;
    options.primary = {cluster.primary().conninfo(), {.name = "primary", .zone = "near"}};
    options.replicas = {{cluster.replica(0).conninfo(), {.name = "well", .zone = "near"}},
                        {link.conninfo(), {.name = "slow", .zone = "far"}},
                        {cluster.replica(2).conninfo(), {.name = "lagging", .zone = "near"}},
                        {cluster.replica(3).conninfo(), {.name = "flapping", .zone = "near"}}};
    options.zone = "near";

    pqxx::connection beating{cluster.primary().conninfo()};
    Repeating heart{[&] {
      pqxx::nontransaction{beating}.exec("UPDATE beat SET at = clock_timestamp()");
      std::this_thread::sleep_for(10ms);
    }};
    Repeating flaps{[&] {
      std::this_thread::sleep_for(700ms);
      cluster.replica(3).kill();
      std::this_thread::sleep_for(300ms);
      cluster.replica(3).start();
    }};

    auto& table = report.table(
        fmt::format("{} readers, {} replicas: one well, one {} ms away, one {} ms behind, one killed every second",
                    readers, cluster.replica_count(), 2 * slowness_each_way.count(), replay_delay.count()),
        {"policy", "reads", "p50", "p99", "slowest", "data's age p50", "age p99", "primary", "well", "slow", "lagging",
         "flapping", "retries"});
    auto data =
        report.data("", "policy, p50 ms, p99 ms, data's age p99 ms, share of primary, well, slow, lagging, flapping");
    std::vector<std::pair<char const*, char const*>> const policies{
        {"round-robin", "round-robin"},
        {"random", "random"},
        {"least-in-flight", "least-in-flight"},
        {"lowest-latency(window=2ms)", "lowest-latency"},
        {"least-lag", "least-lag"},
        {"prefer-zone(least-lag)", "prefer-zone (least-lag)"},
        {"within-staleness(least-lag, bound=1s)", "within-staleness (least-lag)"},
        {"within-staleness(lowest-latency(window=2ms), bound=1s)", "within-staleness (lowest-latency)"},
    };
    for (auto const& [text, label] : policies) {
      auto const outcome = read_under(AnyPolicy::parse(text), options);
      auto const p50 = quantile(outcome.latencies, 0.5);
      auto const p99 = quantile(outcome.latencies, 0.99);
      auto const age = quantile(outcome.ages, 0.99);
      std::vector<Cell> row{words(text),
                            number(static_cast<double>(outcome.latencies.size())),
                            number(p50, 2, "ms"),
                            number(p99, 2, "ms"),
                            number(quantile(outcome.latencies, 1), 1, "ms"),
                            number(quantile(outcome.ages, 0.5), 0, "ms"),
                            number(age, 0, "ms")};
      data << '"' << label << "\" " << p50 << " " << p99 << " " << age;
      for (auto const share : outcome.shares) {
        row.push_back(number(share, 0, "%"));
        data << " " << share;
      }
      row.push_back(number(static_cast<double>(outcome.retries)));
      data << "\n";
      table.add(std::move(row));
    }
    flaps.stop();
    heart.stop();
    report.note(
        "Every row of the table \"beat\" tells when it was written, so a read knows how old its data is. No read "
        "failed: read(fn) runs again elsewhere what a killed node loses. sticky(<policy>) is its inner policy for "
        "sessions that have not written lately. The slow replica costs time, the lagging one age: lowest-latency "
        "avoids "
        "the first, least-lag and within-staleness the second, and they combine.");
  });
}
