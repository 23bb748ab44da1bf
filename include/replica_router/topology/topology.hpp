// What is known of all nodes together, and which is to be asked when? Evidence goes in, facts and a schedule come out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/catch_up.hpp"
#include "replica_router/topology/cluster_facts.hpp"
#include "replica_router/topology/known_identity.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/node_health.hpp"
#include "replica_router/topology/primary_log.hpp"
#include "replica_router/topology/probe_answer.hpp"
#include "replica_router/topology/probe_schedule.hpp"
#include "replica_router/topology/roles.hpp"

namespace replica_router {

/// Everything known of all nodes. Pure: time and evidence are handed in.
///
/// Thread safety: none; the owner keeps a lock around it and publishes `facts()` to readers.
template <class Facts = NodeFacts, class Evidence = RoleEvidence>
class Topology {
 public:
  explicit Topology(TopologyLimits limits = {}) : health_limits_{limits.health}, schedule_{limits} {}

  /// Takes a node in; its number is that of a removed node where there is one.
  NodeId add(RoleHint hint) {
    auto free = std::find_if(nodes_.begin(), nodes_.end(), [](Node const& node) { return !node.is_member; });
    if (free == nodes_.end()) {
      free = nodes_.insert(nodes_.end(), Node{});
    }
    auto const epoch = free->facts.epoch;
    *free = Node{};
    free->is_member = true;
    free->health = NodeHealth{health_limits_};
    free->facts.epoch = epoch + 1;
    free->evidence.hint = hint;
    auto const id = static_cast<NodeId>(free - nodes_.begin());
    schedule_.restart(id);
    return id;
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
  Facts const& facts(NodeId id) const { return nodes_[id].facts; }
  /// What is known of the cluster.
  ClusterFacts const& cluster() const { return cluster_; }
  /// The node's health, with its schedule.
  NodeHealth const& health(NodeId id) const { return nodes_[id].health; }
  /// The node's own system identifier; zero when unknown.
  std::uint64_t system_identifier(NodeId id) const { return nodes_[id].evidence.system_identifier; }

  /// A probe of the node is under way.
  void asked(NodeId id, TimePoint now) { schedule_.asked(id, now); }

  /// A probe was answered at `now`. An answer that nobody waits for is another node's, which had this number before.
  void answered(NodeId id, ProbeAnswer const& answer, TimePoint now) {
    Node& node = nodes_[id];
    if (!schedule_.is_asked(id)) {
      return;
    }
    schedule_.settled(id);
    node.health.answered(now);
    auto const evidence = evidence_of(answer, node.evidence.hint);
    bool const is_news = evidence != node.evidence;
    node.evidence = evidence;
    node.replayed_to(answer.position, answer.asked_at, cluster_.position);
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
      log_.sample(answer);
      auto const latest = log_.latest();
      cluster_.position = latest.lsn;
      cluster_.position_at = latest.asked_at;
      place_all();
    } else {
      place(node);
    }
  }

  /// A probe failed at `now`. After `ProbeFailure::late` it is still under way unless the node is down by now.
  void failed(NodeId id, ProbeFailure failure, TimePoint now, std::uint64_t entropy) {
    Node& node = nodes_[id];
    if (failure == ProbeFailure::lost) {
      suspect(id, Suspicion::lost_connection);
      return;
    }
    if (!schedule_.is_asked(id)) {
      return;  // said of another node, which had this number before
    }
    node.health.failed(failure, now, entropy);
    if (failure != ProbeFailure::late || node.health.state() == Health::down) {
      schedule_.settled(id);
    }
    if (node.health.state() == Health::down) {
      auto silent_on = node.evidence.silent_on;
      if (failure == ProbeFailure::refused) {
        silent_on = 0;
      } else if (node.evidence.is_known && !node.evidence.is_in_recovery) {
        silent_on = node.evidence.timeline;
      }
      if (node.evidence.is_known || silent_on != node.evidence.silent_on) {
        node.evidence.is_known = false;
        node.evidence.silent_on = silent_on;
        judge_all();
      }
    }
    node.copy_health();
  }

  /// A caller doubts the node: it is to be asked at once.
  void suspect(NodeId id, Suspicion suspicion) { schedule_.suspect(id, suspicion); }

  /// Whether the node's next probe has to make a new connection.
  bool must_reconnect(NodeId id) const { return schedule_.must_reconnect(id); }

  /// A replica was seen, outside the probes, to have replayed up to `position` when asked at `asked_at`. False when
  /// that is no news, or not of the node as it is now (`epoch`).
  bool replayed(NodeId id, std::uint32_t epoch, Lsn position, TimePoint asked_at) {
    Node& node = nodes_[id];
    bool const is_news =
        position > node.facts.position || (position == node.facts.position && node.facts.replay_rate > 0);
    if (node.facts.role != Role::replica || node.facts.epoch != epoch || !is_news) {
      return false;
    }
    node.replayed_to(position, asked_at, cluster_.position);
    place(node);
    return true;
  }

  /// A position that sessions ask for: nodes are probed sooner until replicas are proven to have it, for a second. One
  /// nudge after the other, with no demand for proof, makes them wait longer and longer, up to the probe interval.
  /// Where it has no LSN the primary is asked too: only its next sample can stand for the moment.
  void nudge(CausalPosition const& position) { schedule_.nudge(position, cluster_); }

  /// Somebody read or wrote at `now`.
  void demand(TimePoint now) { schedule_.demand(now); }

  /// Somebody read at `now` what a session's position must be proven for: from now on nudges are followed at once.
  void demand_proof(TimePoint now) { schedule_.demand_proof(now); }

  /// When the node is to be probed next; `TimePoint::max()` while a probe is under way or the number is free.
  TimePoint due(NodeId id, TimePoint now) const {
    Node const& node = nodes_[id];
    return node.is_member ? schedule_.due(id, now, node.health, node.facts, cluster_) : TimePoint::max();
  }

  /// When the first node is to be probed next; `TimePoint::max()` when none is.
  TimePoint next_due(TimePoint now) const {
    auto out = TimePoint::max();
    for (NodeId id = 0; id < nodes_.size(); ++id) {
      out = std::min(out, due(id, now));
    }
    return out;
  }

 private:
  struct Node {
    bool is_member = false;
    NodeHealth health{};
    Evidence evidence{};
    Facts facts{};
    ReplayRate rate{};

    void replayed_to(Lsn position, TimePoint asked_at, Lsn primary) {
      facts.position = position;
      facts.probed_at = std::max(facts.probed_at, asked_at);
      rate.sample(position, asked_at, primary);
      facts.replay_rate = rate.bytes_per_second();
    }
    void copy_health() {
      facts.health = health.state();
      facts.returned_at = health.returned_at();
    }
  };

  void judge_all() {
    std::vector<Evidence> evidence;
    evidence.reserve(nodes_.size());
    for (auto const& node : nodes_) {
      evidence.push_back(node.evidence);
    }
    if (identity_.learn(std::span<Evidence const>{evidence})) {
      // What was learned so far was learned of another cluster, which answered first.
      highest_timeline_ = 0;
      log_is_of_.reset();
    }
    auto const judgement = judge_roles<Evidence>(evidence, identity_.value(), highest_timeline_);
    highest_timeline_ = judgement.highest_timeline;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
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
      if (!log_is_of_ || timeline != cluster_.timeline || *log_is_of_ != cluster_.primary) {
        log_.reset();
        log_is_of_ = cluster_.primary;
        cluster_.timeline = timeline;
        cluster_.position = Lsn{};
        cluster_.position_at = never;
      }
    }
    place_all();
  }

  /// Brings a node's freshness up to date with the primary's log.
  void place(Node& node) const {
    auto& facts = node.facts;
    facts.primary_timeline = cluster_.timeline;
    facts.as_of = never;
    facts.lag = Duration::max();
    facts.is_measured = cluster_.position_at != never;
    facts.lineage = lineage_of(facts.timeline, node.evidence.is_timeline_certain, cluster_.timeline);
    if (cluster_.primary != no_node && &node == &nodes_[cluster_.primary]) {
      facts.lag = Duration::zero();
      facts.as_of = cluster_.position_at;
    } else if (facts.role == Role::replica && facts.position && facts.lineage != Lineage::other) {
      facts.lag = log_.lag(facts.position);
      if (facts.lineage == Lineage::same) {
        facts.as_of = log_.as_of(facts.position);
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

  HealthLimits health_limits_;
  std::vector<Node> nodes_;
  ProbeSchedule<Facts> schedule_;
  PrimaryLog<> log_;
  std::optional<NodeId> log_is_of_;
  ClusterFacts cluster_{};
  KnownIdentity identity_;
  std::uint32_t highest_timeline_ = 0;
};

}  // namespace replica_router
