// What goes wrong, where, when and for how long? Drawn from a seed, and done to a real cluster.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/cluster.hpp"
#include "support/tcp_link.hpp"
#include "support/worker_process.hpp"

namespace replica_router::testing {

/// What can be done to one node.
enum class Fault {
  replay_delay,    ///< a replica replays commits later
  replay_pause,    ///< a replica receives and replays nothing
  receiver_cut,    ///< a replica receives nothing
  link_delay,      ///< every byte between the clients and the node is late
  link_stall,      ///< connections are accepted, no byte passes
  link_drop,       ///< connections are reset and refused
  link_blackhole,  ///< connections are accepted and never answered
  answers_lost,    ///< the node gets all that is sent, its answers are held, then the connections are reset
  kill,            ///< SIGKILL, then a start
  stop,            ///< SIGSTOP, then SIGCONT
  crash,           ///< an immediate shutdown, then a start
  restart,         ///< an orderly shutdown, then a start
};
std::string_view text_of(Fault fault);

/// One fault, as drawn.
struct PlannedFault {
  Fault fault;
  std::size_t node = 0;                      ///< 0: the primary; n: the replica n
  std::chrono::milliseconds begins_after{};  ///< counted from the end of the one before
  std::chrono::milliseconds lasts{};
  std::chrono::milliseconds amount{};  ///< of a delay
};

/// An endless series of faults; the same seed gives the same series.
class FaultPlan {
 public:
  struct Limits {
    std::chrono::milliseconds least_pause{500};
    std::chrono::milliseconds longest_pause{2'500};
    std::chrono::milliseconds least_duration{300};
    std::chrono::milliseconds longest_duration{3'000};
  };

  /// Each fault is drawn as often as it stands in `faults`, on one of `nodes`.
  FaultPlan(std::uint64_t seed, std::vector<Fault> faults, std::vector<std::size_t> nodes, Limits limits);
  PlannedFault next();

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::chrono::milliseconds between(std::chrono::milliseconds least, std::chrono::milliseconds most);

  std::mt19937_64 random_;
  std::vector<Fault> faults_;
  std::vector<std::size_t> nodes_;
  Limits limits_;
};

/// SQL that makes it take 100 ms to commit a row whose `is_slow_to_commit` is true: a fault then finds a COMMIT under
/// way.
std::string slow_commits_on(std::string_view table);

/// A cluster whose clients reach every node through a link, and what can be done to it.
///
/// Thread safety: as ClusterNode: each node from one thread at a time.
class FaultStage {
 public:
  explicit FaultStage(Cluster& cluster);

  /// The node that is the primary now (0) or a replica.
  [[nodiscard]] ClusterNode& node(std::size_t index) { return original_node(order_.at(index)); }
  [[nodiscard]] TcpLink& link(std::size_t index) { return *links_.at(order_.at(index)); }
  /// A replica has become the primary: from now on the two numbers stand for each other's nodes.
  void swap_with_primary(std::size_t index) { std::swap(order_.at(0), order_.at(index)); }
  [[nodiscard]] std::size_t size() const { return links_.size(); }
  /// The node's name, found by its server's port; the port's digits when it is none of them.
  [[nodiscard]] std::string name_of(int server_port);
  /// How clients reach each node, the first primary first.
  [[nodiscard]] std::vector<std::string> conninfos() const;

  void begin(PlannedFault const& planned);
  /// Ends what `begin` began; returns when the node is as it was before, though not yet caught up.
  void mend(PlannedFault const& planned);

 private:
  [[nodiscard]] ClusterNode& original_node(std::size_t index) {
    return index == 0 ? cluster_.primary() : cluster_.replica(index - 1);
  }

  Cluster& cluster_;
  std::vector<std::unique_ptr<TcpLink>> links_;
  std::vector<std::size_t> order_;
};

/// A thread that does the faults of one plan, one after the other, until it is told to stop.
class FaultLane {
 public:
  FaultLane(FaultStage& stage, FaultPlan plan, std::function<void(PlannedFault const&)> on_begin);
  ~FaultLane();
  FaultLane(FaultLane const&) = delete;
  FaultLane& operator=(FaultLane const&) = delete;

  /// Returns when what is broken has been mended. Throws: what went wrong on the way.
  void stop();
  /// Whether it came to an end by itself, which is an error.
  [[nodiscard]] bool has_failed();

 private:
  void run(FaultPlan plan);

  FaultStage& stage_;
  std::function<void(PlannedFault const&)> on_begin_;
  StopSign stop_;
  std::mutex mutex_;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace replica_router::testing
