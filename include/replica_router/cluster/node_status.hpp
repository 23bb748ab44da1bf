// How is this node? Its facts, its pool and its counters gathered into one status.
#pragma once

#include <atomic>

#include "replica_router/cluster/cluster.hpp"
#include "replica_router/observe/status.hpp"

namespace replica_router {

/// The state of one node at `now`.
template <class Backend>
NodeStatus status_of(Cluster<Backend> const& cluster, Node<Backend> const& node, TimePoint now) {
  auto const facts = node.facts.read();
  auto const count = [](std::atomic<std::uint64_t> const& counter) { return counter.load(std::memory_order_relaxed); };
  NodeStatus out;
  out.name = node.endpoint.name;
  out.address = node.address.address();
  out.health = facts.health;
  out.role = facts.role;
  out.timeline = facts.timeline;
  out.system_identifier = cluster.look([&](auto const& topology) { return topology.system_identifier(node.id); });
  out.position = facts.position;
  out.lag = facts.lag;
  out.staleness = staleness_of(facts, now);
  out.latency = facts.latency;
  out.reason = cluster.reason(node.id);
  out.pool = node.pool.report();
  out.reads = count(node.counters.reads);
  out.writes = count(node.counters.writes);
  out.lost = count(node.counters.lost);
  out.refused = count(node.counters.refused);
  out.conflicts = count(node.counters.conflicts);
  out.ejections = count(node.counters.ejections);
  return out;
}

}  // namespace replica_router
