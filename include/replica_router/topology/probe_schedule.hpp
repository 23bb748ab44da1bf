// When is a node to be asked next? The schedule of probes: by demand, by suspicion, and by what sessions wait for.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/catch_up.hpp"
#include "replica_router/topology/cluster_facts.hpp"
#include "replica_router/topology/eligibility.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/node_health.hpp"

namespace replica_router {

/// The limits and intervals by which nodes are judged and probed.
struct TopologyLimits {
  HealthLimits health{};
  Duration probe_interval = std::chrono::milliseconds{250};        ///< while reads or writes are going on
  Duration idle_probe_interval = std::chrono::milliseconds{2000};  ///< while nobody has asked for anything lately
  Duration nudge_interval = std::chrono::milliseconds{20};         ///< the least pause between two probes of one node
};

/// What made a caller doubt a node.
enum class Suspicion : std::uint8_t {
  lost_connection,    ///< a connection broke or was refused: the node is asked at once
  no_new_connection,  ///< one cannot be made in time: asked at once, and over a new connection, for an old one may work
};

/// When which node is to be probed. Pure: time and facts are handed in.
///
/// Thread safety: none.
template <class Facts = NodeFacts>
class ProbeSchedule {
 public:
  explicit ProbeSchedule(TopologyLimits const& limits) : limits_{limits} {}

  /// The number is a new node's, which was never asked.
  void restart(NodeId id) {
    if (id >= nodes_.size()) {
      nodes_.resize(id + 1);
    }
    nodes_[id] = Node{};
  }

  /// A probe of the node is under way.
  void asked(NodeId id, TimePoint now) {
    Node& node = nodes_[id];
    bool const is_nudged = node.nudged_at > node.asked_at;
    node.pause = is_nudged ? std::min(2 * node.pause, limits_.probe_interval) : limits_.nudge_interval / 2;
    node.asked_at = now;
    node.is_asked = true;
    node.is_suspect = false;
    node.must_reconnect = false;
  }

  /// The probe is over, answered or not.
  void settled(NodeId id) { nodes_[id].is_asked = false; }

  /// Whether a probe is under way.
  bool is_asked(NodeId id) const { return nodes_[id].is_asked; }

  /// The node is to be asked at once.
  void suspect(NodeId id, Suspicion suspicion) {
    nodes_[id].is_suspect = true;
    nodes_[id].must_reconnect |= suspicion == Suspicion::no_new_connection;
  }

  /// Whether the next question has to go over a new connection.
  bool must_reconnect(NodeId id) const { return nodes_[id].must_reconnect; }

  /// A position that sessions ask for: nodes are due sooner until replicas are proven to have it, for a second.
  void nudge(CausalPosition const& position, ClusterFacts const& cluster) {
    if (position.lsn && position.timeline == cluster.timeline) {
      wanted_.lsn = std::max(wanted_.timeline == position.timeline ? wanted_.lsn : Lsn{}, position.lsn);
      wanted_.timeline = position.timeline;
      wanted_.at = std::max(wanted_.at, position.at);
    } else {
      wanted_moment_ = std::max(wanted_moment_, position.at);
    }
    wanted_until_ = std::max(wanted_.at, wanted_moment_) + std::chrono::seconds{1};
    for (auto& node : nodes_) {
      if (node.nudged_at <= node.asked_at) {
        node.nudged_at = position.at;  // the first since it was asked: a storm of commits does not put it off
      }
    }
  }

  /// Somebody read or wrote at `now`.
  void demand(TimePoint now) { demanded_at_ = std::max(demanded_at_, now); }

  /// Somebody read at `now` what a session's position must be proven for.
  void demand_proof(TimePoint now) { proof_demanded_at_ = std::max(proof_demanded_at_, now); }

  /// When the node is to be probed next; `TimePoint::max()` while a probe is under way.
  TimePoint due(NodeId id, TimePoint now, NodeHealth const& health, Facts const& facts,
                ClusterFacts const& cluster) const {
    Node const& node = nodes_[id];
    if (node.is_asked) {
      return TimePoint::max();
    }
    if (node.asked_at == never) {
      return now;
    }
    auto const soonest = node.asked_at + limits_.nudge_interval;
    if (health.state() == Health::down) {
      return health.retry_at();
    }
    if (node.is_suspect) {
      return std::max(soonest, health.retry_at());
    }
    bool const is_primary = id == cluster.primary;
    bool const is_idle = is_long_ago(demanded_at_, now);
    auto const regular = node.asked_at + (is_idle ? limits_.idle_probe_interval : limits_.probe_interval);
    if (now < wanted_until_ && (is_primary ? cluster.position_at < wanted_moment_ : lacks_proof(facts))) {
      // A commit takes a moment to travel; asking in the same instant would only cost a second question. And there is
      // no use in asking before the replica can be there.
      auto const arrival = std::min(arrival_of(facts, cluster), regular);
      // While nobody reads what is written, proofs are of no use: a storm of commits makes them rarer and rarer.
      auto const pause = is_long_ago(proof_demanded_at_, now) ? node.pause : Duration::zero();
      return std::max(
          {soonest, node.asked_at + pause, node.nudged_at + std::chrono::milliseconds{2}, arrival, health.retry_at()});
    }
    return std::max(regular, health.retry_at());
  }

 private:
  struct Node {
    bool is_asked = false;
    bool is_suspect = false;
    bool must_reconnect = false;
    TimePoint asked_at = never;
    TimePoint nudged_at = never;
    Duration pause{};  // before it is asked for a proof that nobody has demanded yet
  };

  bool is_long_ago(TimePoint moment, TimePoint now) const {
    return moment == never || now - moment > limits_.idle_probe_interval;
  }

  /// Whether a replica's next answer can prove what was committed lately.
  bool lacks_proof(Facts const& facts) const {
    return facts.role == Role::replica && (!has_position(facts, wanted_) || facts.as_of < wanted_moment_);
  }

  /// When the replica will have what is wanted, by its replay rate; `never` when that is unknown.
  TimePoint arrival_of(Facts const& facts, ClusterFacts const& cluster) const {
    auto const wanted = wanted_position(facts, {wanted_, wanted_moment_, Placement::anywhere}, cluster);
    return wanted ? replayed_at(facts, *wanted) : never;
  }

  TopologyLimits limits_;
  std::vector<Node> nodes_;
  CausalPosition wanted_{};
  TimePoint wanted_moment_ = never;
  TimePoint wanted_until_ = never;
  TimePoint demanded_at_ = never;
  TimePoint proof_demanded_at_ = never;
};

}  // namespace replica_router
