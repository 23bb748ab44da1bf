// What is known of all nodes together, and which is to be asked when? Evidence goes in, facts and a schedule come out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/causality/lsn_clock.hpp"
#include "replica_router/topology/eligibility.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/node_health.hpp"
#include "replica_router/topology/probe_answer.hpp"
#include "replica_router/topology/roles.hpp"

namespace replica_router {

/// What is known of the cluster as a whole.
struct ClusterFacts {
  NodeId primary = no_node;             ///< the node that takes writes, if one is known and up
  std::uint64_t system_identifier = 0;  ///< zero when unknown
  Lsn position;                         ///< the primary's latest known insert position, before its page header
  TimePoint position_at = never;        ///< when that position was asked for
  std::uint32_t timeline = 0;           ///< the timeline of `position`; zero when unknown
  bool is_split = false;                ///< two writable nodes that cannot be told apart
};

/// The limits and intervals that `Topology` works by.
struct TopologyLimits {
  HealthLimits health{};
  Duration probe_interval = std::chrono::milliseconds{250};       ///< while reads or writes are going on
  Duration idle_probe_interval = std::chrono::milliseconds{2000}; ///< while nobody has asked for anything lately
  Duration nudge_interval = std::chrono::milliseconds{20};        ///< the least pause between two probes of one node
};

/// Everything known of all nodes. Pure: time and evidence are handed in.
///
/// Thread safety: none; the owner keeps a lock around it and publishes `facts()` to readers.
class Topology {
 public:
  explicit Topology(TopologyLimits limits = {}) : limits_{limits} {}

  /// Takes a node in; its number is that of a removed node where there is one.
  NodeId add(RoleHint hint) {
    auto free = std::find_if(nodes_.begin(), nodes_.end(), [](Node const& node) { return !node.is_member; });
    if (free == nodes_.end()) {
      free = nodes_.insert(nodes_.end(), Node{});
    }
    auto const epoch = free->facts.epoch;
    *free = Node{};
    free->is_member = true;
    free->health = NodeHealth{limits_.health};
    free->facts.epoch = epoch + 1;
    free->evidence.hint = hint;
    return static_cast<NodeId>(free - nodes_.begin());
  }

  /// Lets a node go.
  void remove(NodeId id) {
    nodes_[id].is_member = false;
    nodes_[id].evidence = {};
    judge_all();
  }

  /// How many numbers are in use or reusable.
  std::size_t size() const { return nodes_.size(); }
  /// Whether the number belongs to a node now.
  bool is_member(NodeId id) const { return id < nodes_.size() && nodes_[id].is_member; }
  /// What is known of one node.
  NodeFacts const& facts(NodeId id) const { return nodes_[id].facts; }
  /// What is known of the cluster.
  ClusterFacts const& cluster() const { return cluster_; }
  /// The node's health, with its schedule.
  NodeHealth const& health(NodeId id) const { return nodes_[id].health; }
  /// The node's own system identifier; zero when unknown.
  std::uint64_t system_identifier(NodeId id) const { return nodes_[id].evidence.system_identifier; }

  /// A probe of the node is under way.
  void asked(NodeId id, TimePoint now) {
    nodes_[id].asked_at = now;
    nodes_[id].is_asked = true;
    nodes_[id].is_suspect = false;
  }

  /// A probe was answered at `now`.
  void answered(NodeId id, ProbeAnswer const& answer, TimePoint now) {
    Node& node = nodes_[id];
    node.is_asked = false;
    node.health.answered(now);
    bool const is_news = !node.evidence.is_known || node.evidence.is_in_recovery != answer.is_in_recovery ||
                         node.evidence.timeline != answer.timeline ||
                         node.evidence.system_identifier != answer.system_identifier;
    node.evidence.is_known = true;
    node.evidence.is_in_recovery = answer.is_in_recovery;
    node.evidence.timeline = answer.timeline;
    node.evidence.system_identifier = answer.system_identifier;
    node.facts.position = answer.position;
    node.facts.probed_at = answer.asked_at;
    if (answer.round_trip > Duration::zero()) {
      // An eighth of each new sample, as TCP smooths its round-trip time (RFC 6298).
      auto const old = node.facts.latency;
      node.facts.latency = old == Duration::zero() ? answer.round_trip : old + (answer.round_trip - old) / 8;
    }
    if (is_news) {
      judge_all();
    } else {
      node.copy_health();
    }
    if (cluster_.primary == id) {
      take_sample(answer);
      place_all();
    } else {
      place(node);
    }
  }

  /// A probe failed at `now`. After `ProbeFailure::late` it is still under way unless the node is down by now.
  void failed(NodeId id, ProbeFailure failure, TimePoint now, std::uint64_t entropy) {
    Node& node = nodes_[id];
    if (failure == ProbeFailure::lost) {
      suspect(id);
      return;
    }
    node.health.failed(failure, now, entropy);
    if (failure != ProbeFailure::late || node.health.state() == Health::down) {
      node.is_asked = false;
    }
    if (node.health.state() == Health::down && node.evidence.is_known) {
      node.evidence.is_known = false;
      judge_all();
    }
    node.copy_health();
  }

  /// A caller lost a connection to the node: it is to be asked at once.
  void suspect(NodeId id) { nodes_[id].is_suspect = true; }

  /// A replica was seen, outside the probes, to have replayed up to `position` when asked at `asked_at`.
  void replayed(NodeId id, Lsn position, TimePoint asked_at) {
    Node& node = nodes_[id];
    if (node.facts.role == Role::replica && position > node.facts.position) {
      node.facts.position = position;
      node.facts.probed_at = std::max(node.facts.probed_at, asked_at);
      place(node);
    }
  }

  /// A commit that sessions will ask for: replicas are probed sooner until they are proven to have it, for a second.
  void nudge(CausalPosition const& position) {
    wanted_ = later_of(wanted_, position);
    wanted_until_ = wanted_.at + std::chrono::seconds{1};
  }

  /// Somebody read or wrote at `now`.
  void demand(TimePoint now) { demanded_at_ = std::max(demanded_at_, now); }

  /// When the node is to be probed next; `TimePoint::max()` while a probe is under way or the number is free.
  TimePoint due(NodeId id, TimePoint now) const {
    Node const& node = nodes_[id];
    if (!node.is_member || node.is_asked) {
      return TimePoint::max();
    }
    if (node.asked_at == never) {
      return now;
    }
    auto const soonest = node.asked_at + limits_.nudge_interval;
    if (node.health.state() == Health::down) {
      return node.health.retry_at();
    }
    if (node.is_suspect) {
      return soonest;
    }
    if (now < wanted_until_ && wants_proof(id)) {
      // A commit takes a moment to travel; asking in the same instant would only cost a second question.
      return std::max(soonest, wanted_.at + std::chrono::milliseconds{2});
    }
    bool const is_idle = demanded_at_ == never || now - demanded_at_ > limits_.idle_probe_interval;
    auto const due = node.asked_at + (is_idle ? limits_.idle_probe_interval : limits_.probe_interval);
    return node.health.retry_at() == never ? due : std::max(due, node.health.retry_at());
  }

 private:
  struct Node {
    bool is_member = false;
    bool is_asked = false;
    bool is_suspect = false;
    TimePoint asked_at = never;
    NodeHealth health{};
    RoleEvidence evidence{};
    NodeFacts facts{};

    void copy_health() {
      facts.health = health.state();
      facts.returned_at = health.returned_at();
    }
  };

  /// Whether the node's next answer can prove what was committed lately.
  bool wants_proof(NodeId id) const {
    if (id == cluster_.primary) {
      return !wanted_.lsn && cluster_.position_at < wanted_.at;
    }
    return nodes_[id].facts.role == Role::replica && !has_position(nodes_[id].facts, wanted_);
  }

  void judge_all() {
    std::vector<RoleEvidence> evidence;
    evidence.reserve(nodes_.size());
    for (auto const& node : nodes_) {
      evidence.push_back(node.evidence);
    }
    auto const judgement = judge_roles(evidence, pinned_identity_, highest_timeline_);
    highest_timeline_ = judgement.highest_timeline;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
      if (node.evidence.is_known && node.evidence.hint == RoleHint::primary && judgement.system_identifier != 0 &&
          node.evidence.system_identifier == judgement.system_identifier) {
        pinned_identity_ = judgement.system_identifier;
      }
      node.copy_health();
      if (!node.evidence.is_known) {
        continue;  // what it was stays on record; being down is what keeps reads away
      }
      auto const role = judgement.roles[i];
      bool const had_role = node.facts.role != Role::unknown;
      if (had_role && (node.facts.role != role || node.facts.timeline != node.evidence.timeline)) {
        ++node.facts.epoch;
      }
      node.facts.role = role;
      node.facts.timeline = node.evidence.timeline;
    }
    cluster_.primary = judgement.primary ? *judgement.primary : no_node;
    cluster_.system_identifier = judgement.system_identifier;
    cluster_.is_split = judgement.is_split;
    if (cluster_.primary != no_node) {
      auto const timeline = nodes_[cluster_.primary].evidence.timeline;
      if (!clock_is_of_ || timeline != cluster_.timeline || *clock_is_of_ != cluster_.primary) {
        clock_.reset();
        clock_is_of_ = cluster_.primary;
        cluster_.timeline = timeline;
        cluster_.position = Lsn{};
        cluster_.position_at = never;
      }
    }
    place_all();
  }

  void take_sample(ProbeAnswer const& answer) {
    if (!answer.position) {
      return;
    }
    clock_.sample(answer.asked_at, answer.position);
    if (auto const latest = clock_.latest()) {
      cluster_.position = latest->lsn;
      cluster_.position_at = latest->asked_at;
    }
  }

  /// Brings a node's freshness up to date with the clock.
  void place(Node& node) const {
    auto& facts = node.facts;
    facts.primary_timeline = cluster_.timeline;
    facts.as_of = never;
    facts.lag = Duration::max();
    if (cluster_.timeline == 0 || facts.timeline == 0) {
      facts.lineage = Lineage::unknown;
    } else {
      facts.lineage = facts.timeline == cluster_.timeline ? Lineage::same : Lineage::other;
    }
    if (facts.role == Role::primary) {
      facts.lag = Duration::zero();
      facts.as_of = cluster_.position_at;
    } else if (facts.role == Role::replica && facts.position) {
      facts.lag = clock_.lag(facts.position);
      if (facts.lineage == Lineage::same) {
        facts.as_of = clock_.as_of(facts.position);
      }
    }
  }

  void place_all() {
    for (auto& node : nodes_) {
      if (node.is_member) {
        place(node);
      }
    }
  }

  TopologyLimits limits_;
  std::vector<Node> nodes_;
  LsnClock clock_;
  std::optional<NodeId> clock_is_of_;
  ClusterFacts cluster_{};
  std::uint64_t pinned_identity_ = 0;
  std::uint32_t highest_timeline_ = 0;
  CausalPosition wanted_{};
  TimePoint wanted_until_ = never;
  TimePoint demanded_at_ = never;
};

}  // namespace replica_router
