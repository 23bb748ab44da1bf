// How long does trouble last? A replica hung, a replica killed, the primary killed and a replica promoted, under load.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "report.hpp"
#include "rounds.hpp"
#include "test_table.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr int readers = 8;
constexpr auto before_trouble = 1500ms;
constexpr auto after_trouble = 4000ms;

/// One read or write: when it began and ended.
struct Call {
  Clock::time_point begin;
  Clock::time_point end;
};

/// Readers and one writer, each noting its calls. A read that fails ends it with that error, a write is tried on.
class Load {
 public:
  explicit Load(ReplicaRouter<>& db) {
    for (int i = 0; i < readers; ++i) {
      reading_.push_back(std::async(std::launch::async, [this, &db, i] {
        Keys keys{i * 37};
        std::vector<Call> calls;
        while (!is_stopping_.load()) {
          auto const begin = Clock::now();
          // A couple of milliseconds each, so that every node has reads in flight when the trouble comes.
          db.read([&](auto& tx) {
            tx.exec("SELECT payload, pg_sleep(0.002) FROM item WHERE id = $1", pqxx::params{keys.next()}).one_row();
          });
          calls.push_back({begin, Clock::now()});
        }
        return calls;
      }));
    }
    writing_ = std::async(std::launch::async, [this, &db] {
      auto session = db.session();
      std::vector<Call> calls;
      for (Keys keys; !is_stopping_.load(); std::this_thread::sleep_for(2ms)) {
        auto const begin = Clock::now();
        try {
          session.write({.deadline = 20s}, [&](auto& tx) {
            tx.exec("UPDATE item SET touched = touched + 1 WHERE id = $1", pqxx::params{keys.next()});
          });
          calls.push_back({begin, Clock::now()});
        } catch (CommitInDoubt const&) {
          ++in_doubt_;  // the primary was killed between the commit and its answer: told, and the next one is tried
        }
      }
      return calls;
    });
  }
  Load(Load const&) = delete;
  Load& operator=(Load const&) = delete;
  ~Load() { is_stopping_.store(true); }

  /// Throws: what a read threw.
  std::pair<std::vector<Call>, std::vector<Call>> stop() {
    is_stopping_.store(true);
    std::vector<Call> reads;
    for (auto& reader : reading_) {
      auto const calls = reader.get();
      reads.insert(reads.end(), calls.begin(), calls.end());
    }
    return {reads, writing_.get()};
  }
  int in_doubt() const { return in_doubt_.load(); }

 private:
  std::atomic<bool> is_stopping_{false};
  std::atomic<int> in_doubt_{0};
  std::vector<std::future<std::vector<Call>>> reading_;
  std::future<std::vector<Call>> writing_;
};

/// What happens to the cluster. Returns when writes are possible again, or when it began, if they always were.
using Trouble = std::function<Clock::time_point(testing::Cluster&)>;

struct Scenario {
  std::string name;
  std::string file;
  Trouble trouble;
  std::function<void(testing::Cluster&)> end_of_trouble;
};

void play(Report& report, Table& table, Scenario const& scenario) {
  testing::Cluster cluster{{.replicas = 3}};
  make_test_table(cluster);
  auto const db = make_router(cluster, StickyAfterWrite<LeastLag>{});
  Load load{*db};
  std::this_thread::sleep_for(before_trouble);
  auto const trouble = Clock::now();
  auto const writable = scenario.trouble(cluster);
  std::this_thread::sleep_until(trouble + after_trouble);
  auto [reads, writes] = load.stop();
  scenario.end_of_trouble(cluster);

  std::vector<double> calm;
  auto data =
      report.data("_" + scenario.file, "seconds since the trouble began, milliseconds of the call, read or write");
  auto const tell = [&](std::vector<Call> const& calls, char const* kind) {
    for (auto const& call : calls) {
      data << milliseconds_of(call.end - trouble) / 1000 << " " << milliseconds_of(call.end - call.begin) << " " << kind
           << "\n";
    }
  };
  tell(reads, "read");
  tell(writes, "write");
  for (auto const& read : reads) {
    if (read.end < trouble) {
      calm.push_back(milliseconds_of(read.end - read.begin));
    }
  }
  // Affected is what took longer than nearly everything before the trouble; at least 50 ms, for hiccups are no trouble.
  auto const limit = std::max(50.0, 2 * quantile(calm, 0.999));
  double last_affected = 0;
  double slowest = 0;
  int affected = 0;
  for (auto const& read : reads) {
    auto const took = milliseconds_of(read.end - read.begin);
    if (read.end > trouble && took > limit) {
      ++affected;
      last_affected = std::max(last_affected, milliseconds_of(read.end - trouble));
    }
    slowest = read.end > trouble ? std::max(slowest, took) : slowest;
  }
  double first_write = -1;
  for (auto const& write : writes) {
    if (write.end > writable && (first_write < 0 || milliseconds_of(write.end - writable) < first_write)) {
      first_write = milliseconds_of(write.end - writable);
    }
  }
  if (first_write < 0) {
    throw std::runtime_error{scenario.name + ": no write came through afterwards:\n" + db->status().text()};
  }
  table.add({words(scenario.name), number(static_cast<double>(reads.size())), number(0), number(affected),
             number(last_affected, 0, "ms"), number(slowest, 0, "ms"), number(first_write, 0, "ms"),
             number(load.in_doubt()), goal("≤ 2 s, none fails", last_affected <= 2000)});
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("failover", argc, argv, [](Report& report) {
    auto& table =
        report.table(fmt::format("Trouble under {} readers and a writer, three replicas, default options", readers),
                     {"trouble", "reads", "failed", "affected", "last one done after", "slowest read",
                      "first write after", "commits in doubt", "goal"});
    auto const nothing = [](testing::Cluster&) {};
    play(report, table,
         {"a replica hangs (SIGSTOP)", "hang",
          [](testing::Cluster& cluster) {
            cluster.replica(0).suspend();
            return Clock::now();
          },
          [](testing::Cluster& cluster) { cluster.replica(0).resume(); }});
    play(report, table,
         {"a replica is killed (kill -9)", "kill",
          [](testing::Cluster& cluster) {
            cluster.replica(0).kill();
            return Clock::now();
          },
          nothing});
    play(report, table,
         {"the primary is killed, a replica promoted", "promotion",
          [](testing::Cluster& cluster) {
            cluster.primary().kill();
            cluster.replica(0).promote();
            auto const writable = Clock::now();
            cluster.replica(1).follow(cluster.replica(0));
            cluster.replica(2).follow(cluster.replica(0));
            return writable;
          },
          nothing});
    report.note(
        "Times count from the trouble's begin, the first write's from the end of the promotion (where nothing is "
        "promoted: from the trouble). Affected is a read that took over 50 ms and twice as long as all but a "
        "thousandth "
        "of those before. Were a read to fail, this benchmark would fail.");
  });
}
