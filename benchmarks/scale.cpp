// Do five replicas serve five times as many reads? Reads that hold a connection for a while, beside writes.
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "report.hpp"
#include "rounds.hpp"
#include "test_table.hpp"

namespace {

using namespace std::chrono_literals;
using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr int most_replicas = 8;
constexpr int connections = 3;
constexpr int readers_a_replica = 6;  // more than connections: capacity decides, not the readers
constexpr int rounds = 5;

/// A thread that writes a row about every five milliseconds until it goes out of scope.
class Writer {
 public:
  template <class Router>
  explicit Writer(Router& db)
      : done_{std::async(std::launch::async, [this, &db] {
          Keys keys;
          while (!is_stopping_.load()) {
            db.write([&](auto& tx) {
              tx.exec("UPDATE item SET touched = touched + 1 WHERE id = $1", pqxx::params{keys.next()});
            });
            ++writes_;
            std::this_thread::sleep_for(5ms);
          }
        })} {}
  Writer(Writer const&) = delete;
  Writer& operator=(Writer const&) = delete;
  ~Writer() { is_stopping_.store(true); }

  /// How many writes were committed. Throws: what a write threw.
  int stop() {
    is_stopping_.store(true);
    done_.get();
    return writes_.load();
  }

 private:
  std::atomic<bool> is_stopping_{false};
  std::atomic<int> writes_{0};
  std::future<void> done_;
};

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("scale", argc, argv, [](Report& report) {
    testing::Cluster cluster{{.replicas = most_replicas}};
    make_test_table(cluster);
    std::vector<std::unique_ptr<ReplicaRouter<>>> routers;
    std::vector<Side> sides;
    std::atomic<int> writes{0};
    for (int replicas = 1; replicas <= most_replicas; ++replicas) {
      auto options = options_for(cluster, static_cast<std::size_t>(replicas));
      options.max_connections = connections;
      auto& db = *routers.emplace_back(make_router(options, StickyAfterWrite<LeastLag>{}));
      sides.push_back({{}, [&, replicas] {
                         auto writing = db.session();  // another causal scope: the readers need not see these writes
                         Writer writer{writing};
                         auto const rate = rate_of(readers_a_replica * replicas, 700ms, [&](int) {
                           return [&] { db.read()->exec("SELECT pg_sleep(0.010)"); };
                         });
                         writes += writer.stop();
                         return rate;
                       }});
    }
    Rounds const figures{sides, rounds};

    std::uint64_t on_primary = 0;
    for (auto const& db : routers) {
      on_primary += db->status().fallbacks;
    }
    auto& table = report.table(
        fmt::format("Reads of 10 ms of server time, at most {} connections a node, {} readers a replica, one writer",
                    connections, readers_a_replica),
        {"replicas", "reads a second", "against one replica", "goal"});
    auto data = report.data("", "replicas, reads a second, against one replica");
    for (std::size_t i = 0; i < sides.size(); ++i) {
      auto const times = figures.ratio(i, 0);
      table.add({number(static_cast<double>(i + 1)), number(figures.median(i)), number(times, 2),
                 i + 1 == 5 ? goal("≥ 4.8", times >= 4.8) : no_goal()});
      data << i + 1 << " " << figures.median(i) << " " << times << "\n";
    }
    report.note(fmt::format(
        "A read sleeps on its server, as one that waits for a disk does, so this machine's cores do not limit it: "
        "{} connections give at most {} reads a second a replica. {} rows were written meanwhile; the primary served "
        "{} of all reads.",
        connections, connections * 125, writes.load(), on_primary));
  });
}
