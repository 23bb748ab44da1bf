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

/// A position by what is known by now: once the primary was sampled after it, the sample stands for it, however its own
/// log position was lost (it was not captured) or went out of use (a failover).
constexpr CausalPosition resolved(CausalPosition const& position, ClusterFacts const& cluster) {
  bool const is_usable = position.lsn && position.timeline == cluster.timeline;
  bool const is_sampled = position.at != never && cluster.position_at >= position.at && cluster.timeline != 0;
  return is_usable || !is_sampled ? position : CausalPosition{cluster.position, cluster.timeline, position.at};
}

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

  /// A probe was answered at `now`. An answer that nobody waits for is another node's, which had this number before.
  void answered(NodeId id, ProbeAnswer const& answer, TimePoint now) {
    Node& node = nodes_[id];
    if (!node.is_asked) {
      return;
    }
    node.is_asked = false;
    node.health.answered(now);
    bool const is_news = !node.evidence.is_known || node.evidence.is_in_recovery != answer.is_in_recovery ||
                         node.evidence.timeline != answer.timeline ||
                         node.evidence.is_timeline_certain != answer.is_timeline_certain ||
                         node.evidence.system_identifier != answer.system_identifier;
    node.evidence.is_known = true;
    node.evidence.is_in_recovery = answer.is_in_recovery;
    node.evidence.timeline = answer.timeline;
    node.evidence.is_timeline_certain = answer.is_timeline_certain;
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
    if (!node.is_asked) {
      return;  // said of another node, which had this number before
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

  /// A replica was seen, outside the probes, to have replayed up to `position` when asked at `asked_at`. False when that
  /// is no news, or not of the node as it is now (`epoch`).
  bool replayed(NodeId id, std::uint32_t epoch, Lsn position, TimePoint asked_at) {
    Node& node = nodes_[id];
    if (node.facts.role != Role::replica || node.facts.epoch != epoch || position <= node.facts.position) {
      return false;
    }
    node.facts.position = position;
    node.facts.probed_at = std::max(node.facts.probed_at, asked_at);
    place(node);
    return true;
  }

  /// A position that sessions ask for: nodes are probed sooner until replicas are proven to have it, for a second.
  /// Where it has no LSN the primary is asked too: only its next sample can stand for the moment.
  void nudge(CausalPosition const& position) {
    if (position.lsn && position.timeline == cluster_.timeline) {
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
      return std::max(soonest, node.health.retry_at());
    }
    if (now < wanted_until_ && wants_proof(id)) {
      // A commit takes a moment to travel; asking in the same instant would only cost a second question.
      return std::max({soonest, node.nudged_at + std::chrono::milliseconds{2}, node.health.retry_at()});
    }
    bool const is_idle = demanded_at_ == never || now - demanded_at_ > limits_.idle_probe_interval;
    auto const due = node.asked_at + (is_idle ? limits_.idle_probe_interval : limits_.probe_interval);
    return std::max(due, node.health.retry_at());
  }

 private:
  struct Node {
    bool is_member = false;
    bool is_asked = false;
    bool is_suspect = false;
    TimePoint asked_at = never;
    TimePoint nudged_at = never;
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
      return cluster_.position_at < wanted_moment_;
    }
    auto const& facts = nodes_[id].facts;
    return facts.role == Role::replica && (!has_position(facts, wanted_) || facts.as_of < wanted_moment_);
  }

  /// The cluster's identity: what is known stays, unless the expected primary, or more nodes than ever told it, say
  /// otherwise. A foreign node that alone is left says nothing.
  std::uint64_t identity_by(std::vector<RoleEvidence> const& evidence) const {
    auto const known = cluster_.system_identifier;
    auto const told = cluster_identity(evidence, pinned_identity_);
    bool const is_told_by_primary = std::any_of(evidence.begin(), evidence.end(), [&](RoleEvidence const& node) {
      return node.is_known && node.hint == RoleHint::primary && node.system_identifier == told;
    });
    bool const stays = pinned_identity_ == 0 && !is_told_by_primary && support_of(evidence, told) <= identity_support_;
    return told == 0 || (known != 0 && stays) ? known : told;
  }

  void judge_all() {
    std::vector<RoleEvidence> evidence;
    evidence.reserve(nodes_.size());
    for (auto const& node : nodes_) {
      evidence.push_back(node.evidence);
    }
    auto const identity = identity_by(evidence);
    if (identity != cluster_.system_identifier) {
      // What was learned so far was learned of another cluster, which answered first.
      highest_timeline_ = 0;
      clock_is_of_.reset();
      identity_support_ = 0;
    }
    identity_support_ = std::max(identity_support_, support_of(evidence, identity));
    auto const judgement = judge_roles(evidence, identity, highest_timeline_);
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
        flushed_clock_.reset();
        flushed_ = Lsn{};
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
    // What reads write to the log (pruning, hint bits) may stay unflushed for long on an idle primary, and no replica gets
    // it before. No commit is among it that is older than `flush_delay`: so whoever has what was flushed has what had been
    // committed by then. Source: PostgreSQL documentation, "Asynchronous Commit" (three times wal_writer_delay).
    flushed_ = answer.flushed.before_page_header();
    if (answer.flushed && answer.flush_delay > Duration::zero()) {
      flushed_clock_.sample(answer.asked_at - answer.flush_delay, answer.flushed);
    }
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
    facts.is_measured = cluster_.position_at != never;
    if (cluster_.timeline == 0 || facts.timeline == 0) {
      facts.lineage = Lineage::unknown;
    } else if (facts.timeline == cluster_.timeline) {
      facts.lineage = Lineage::same;
    } else {
      facts.lineage = node.evidence.is_timeline_certain ? Lineage::other : Lineage::unknown;
    }
    bool const is_primary = cluster_.primary != no_node && &node == &nodes_[cluster_.primary];
    if (is_primary) {
      facts.lag = Duration::zero();
      facts.as_of = cluster_.position_at;
    } else if (facts.role == Role::replica && facts.position && facts.lineage != Lineage::other) {
      bool const has_all_there_is = flushed_ && facts.position >= flushed_;
      facts.lag = has_all_there_is ? Duration::zero() : clock_.lag(facts.position);
      if (facts.lineage == Lineage::same) {
        facts.as_of = std::max(clock_.as_of(facts.position), flushed_clock_.as_of(facts.position));
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
  LsnClock flushed_clock_;
  Lsn flushed_;
  std::optional<NodeId> clock_is_of_;
  ClusterFacts cluster_{};
  std::uint64_t pinned_identity_ = 0;
  std::size_t identity_support_ = 0;  // the most nodes that ever told the identity at once
  std::uint32_t highest_timeline_ = 0;
  CausalPosition wanted_{};
  TimePoint wanted_moment_ = never;
  TimePoint wanted_until_ = never;
  TimePoint demanded_at_ = never;
};

}  // namespace replica_router
