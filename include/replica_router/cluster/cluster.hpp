// What do all sessions of one router share? The nodes, and the evidence about them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "replica_router/cluster/change_events.hpp"
#include "replica_router/cluster/limits.hpp"
#include "replica_router/cluster/node.hpp"
#include "replica_router/cluster/node_list.hpp"
#include "replica_router/cluster/registered_statements.hpp"
#include "replica_router/cluster/route_log.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/options.hpp"
#include "replica_router/topology/eligibility.hpp"
#include "replica_router/topology/probe_event.hpp"
#include "replica_router/topology/topology.hpp"

namespace replica_router {

/// The nodes of one router and what is known of them.
///
/// Thread safety: all calls. `nodes()` and the facts in it are read without a lock.
/// Lifetime: shared by the router, its sessions and all leases.
template <class Backend>
class Cluster {
 public:
  using NodeType = Node<Backend>;
  Cluster(Options const& options, Backend const& backend)
      : backend_{backend},
        options_{options},
        began_at_{backend.now()},
        topology_{topology_limits_of(options)},
        log_{options.observer, backend} {
    add(options.primary, RoleHint::primary);
    for (auto const& replica : options.replicas) {
      add(replica, RoleHint::replica);
    }
  }

  /// The nodes as of now; the list stays valid for as long as the cluster lives.
  typename NodeList<Backend>::Numbered const& nodes() const { return nodes_.now(); }

  /// The node of that number, if there is one.
  NodeType* node(NodeId id) const { return nodes_.at(id); }

  /// What is known of the cluster as a whole.
  ClusterFacts facts() const { return facts_.read(); }

  /// The primary, if one is known and up.
  NodeType* primary() const { return node(facts_.read().primary); }

  /// Takes a node in. Throws: `ConfigError` when its name is taken.
  NodeType& add(Endpoint const& endpoint, RoleHint hint) {
    std::lock_guard guard{mutex_};
    if (nodes_.find(endpoint.name) != nullptr) {
      throw ConfigError{"replicas: a node named \"" + endpoint.name + "\" is already there; names must differ"};
    }
    auto address = backend_.address_of(endpoint);  // may throw: before anything has changed
    auto const id = topology_.add(hint);
    auto& added = nodes_.insert(
        std::make_unique<NodeType>(id, endpoint, std::move(address), hint, backend_, pool_limits_of(options_)));
    reasons_.resize(nodes().size());
    reasons_[id].clear();
    publish();
    return added;
  }

  /// Lets a node go: no read is placed on it any more; what runs there ends in peace.
  /// Throws: `ConfigError` when there is no such node.
  void remove(std::string_view name) {
    NodeType* removed = nullptr;
    {
      std::lock_guard guard{mutex_};
      removed = nodes_.find(name);
      if (removed == nullptr) {
        throw ConfigError{"replicas: there is no node named \"" + std::string{name} + "\" to remove"};
      }
      topology_.remove(removed->id);
      nodes_.erase(*removed);
      publish();
    }
    removed->pool.close();
  }

  /// The statements that every connection knows.
  RegisteredStatements& statements() { return statements_; }

  /// What has become of reads and writes.
  RouteLog<Backend>& log() { return log_; }
  RouteLog<Backend> const& log() const { return log_; }

  /// Changes evidence under the lock, publishes the outcome and wakes whoever waits for it.
  template <class Change>
  decltype(auto) update(Change&& change) {
    struct Publish {
      Cluster& cluster;
      ~Publish() { cluster.publish(); }
    };
    std::lock_guard guard{mutex_};
    Publish const publish_at_end{*this};
    return std::forward<Change>(change)(topology_);
  }

  /// Changes what is asked when, under the lock; no evidence changes, so nothing is published.
  template <class Change>
  decltype(auto) schedule(Change&& change) {
    std::lock_guard guard{mutex_};
    return std::forward<Change>(change)(topology_);
  }

  /// Looks at the evidence under the lock.
  template <class Look>
  decltype(auto) look(Look&& look) const {
    std::lock_guard guard{mutex_};
    return std::forward<Look>(look)(topology_);
  }

  /// A replica told, outside the probes, how far it has replayed; published only when it is news.
  void replayed(NodeId id, std::uint32_t epoch, Lsn position, TimePoint asked_at) {
    std::lock_guard guard{mutex_};
    if (topology_.replayed(id, epoch, position, asked_at)) {
      publish();
    }
  }

  /// Somebody reads or writes at `now`: probing goes at its full pace for a while.
  void demand(TimePoint now) {
    auto const last = demanded_at_.load(std::memory_order_relaxed);
    if (last != never && now - last < options_.probe_interval / 4) {
      return;
    }
    demanded_at_.store(now, std::memory_order_relaxed);
    if (last == never || now - last > options_.idle_probe_interval) {
      wake_();
    }
  }

  /// Somebody reads at `now` what a session's position must be proven for: commits are followed by probes at once for a
  /// while.
  void demand_proof(TimePoint now) {
    if (now - options_.probe_interval / 4 > proof_demanded_at_.load(std::memory_order_relaxed)) {
      proof_demanded_at_.store(now, std::memory_order_relaxed);
    }
  }

  /// Tells the schedule of what was demanded meanwhile. To be called inside `schedule`.
  void take_in_demands(Topology<>& topology) const {
    topology.demand(demanded_at());
    topology.demand_proof(proof_demanded_at_.load(std::memory_order_relaxed));
  }

  /// When somebody last read or wrote.
  TimePoint demanded_at() const { return demanded_at_.load(std::memory_order_relaxed); }

  /// A position that sessions ask for: nodes are probed sooner until they are proven to have it.
  void nudge(CausalPosition const& position) {
    auto const now = backend_.now();
    bool const is_sooner = schedule([&](auto& topology) {
      take_in_demands(topology);
      topology.nudge(position);
      return topology.next_due(now) < probes_at_.load(std::memory_order_relaxed);
    });
    if (is_sooner) {  // else the monitor wakes in time by itself, as after the first of a storm of commits
      wake_();
    }
  }

  /// A caller doubts the node: it is probed at once.
  void suspect(NodeId id, Suspicion suspicion = Suspicion::lost_connection) {
    schedule([&](auto& topology) { topology.suspect(id, suspicion); });
    wake_();
  }

  /// The monitor's part: how it is woken, and until when it will sleep.
  void on_wake(std::function<void()> wake) { wake_ = std::move(wake); }
  void sleeps_until(TimePoint moment) { probes_at_.store(moment, std::memory_order_relaxed); }

  /// Why the node's latest probe failed, in the server's or libpq's own words, or what is wrong with its answer; empty
  /// when all is well.
  std::string reason(NodeId id) const {
    std::lock_guard guard{mutex_};
    return reason_known(id);
  }

  /// Takes note of why a probe failed. To be called inside `update`.
  void set_reason(NodeId id, std::string reason) { reasons_[id] = std::move(reason); }

  /// A count that grows with every piece of evidence.
  std::uint64_t changes() const { return changes_.load(std::memory_order_acquire); }

  /// Waits until there is evidence later than `seen`. False when `deadline` passed first.
  bool wait_for_change(std::uint64_t seen, TimePoint deadline) {
    std::unique_lock lock{mutex_};
    while (changes() == seen) {
      if (!backend_.wait_until(changed_, lock, deadline)) {
        return changes() != seen;
      }
    }
    return true;
  }

  /// When the first node was taken in.
  TimePoint began_at() const { return began_at_; }

  /// What the cluster runs on.
  Backend const& backend() const { return backend_; }

  /// The options the cluster was made with, completed and validated.
  Options const& options() const { return options_; }

 private:
  void publish() {
    if (log_.events().is_wanted()) {
      tell_changes();
    }
    for (auto* node : nodes()) {
      if (node != nullptr) {
        auto const& facts = topology_.facts(node->id);
        node->facts.publish(facts);
        node->standing.publish(standing_of(facts, options_.max_lag));
        node->epoch.store(facts.epoch, std::memory_order_relaxed);
      }
    }
    facts_.publish(topology_.cluster());
    changes_.fetch_add(1, std::memory_order_release);
    changed_.notify_all();
  }

  void tell_changes() {
    auto const now = backend_.now();
    for (auto const* node : nodes()) {
      if (node != nullptr) {
        changes_told_.node_changes(node->endpoint.name, node->facts.read(), topology_.facts(node->id), now,
                                   [&] { return reason_known(node->id); });
      }
    }
    auto const* const primary = node(topology_.cluster().primary);
    changes_told_.cluster_is(topology_.cluster(), primary == nullptr ? std::string{} : primary->endpoint.name, now);
  }

  std::string reason_known(NodeId id) const {
    if (id >= reasons_.size() || !reasons_[id].empty() || topology_.facts(id).role != Role::foreign) {
      return id < reasons_.size() ? reasons_[id] : std::string{};
    }
    return "its system identifier is " + std::to_string(topology_.system_identifier(id)) + ", this cluster's is " +
           std::to_string(topology_.cluster().system_identifier);
  }

  Backend const& backend_;
  Options const options_;
  TimePoint const began_at_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<std::uint64_t> changes_{0};
  Topology<> topology_;
  Published<ClusterFacts> facts_;
  std::vector<std::string> reasons_;
  std::function<void()> wake_ = [] {};
  std::atomic<TimePoint> demanded_at_{never};
  std::atomic<TimePoint> proof_demanded_at_{never};
  std::atomic<TimePoint> probes_at_{never};
  NodeList<Backend> nodes_;
  RegisteredStatements statements_;
  RouteLog<Backend> log_;
  ChangeEvents<> changes_told_{log_.events()};
};

}  // namespace replica_router
