// What does the router hold of one node? Its endpoint, its latest facts, its pool and its counters.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "replica_router/endpoint.hpp"
#include "replica_router/pool/pool.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/topology/eligibility.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/published.hpp"
#include "replica_router/topology/roles.hpp"

namespace replica_router {

/// How often something happened to a node, since the router began.
struct NodeCounters {
  std::atomic<std::uint64_t> reads{0};      ///< leases given to reads
  std::atomic<std::uint64_t> writes{0};     ///< leases given to writes
  std::atomic<std::uint64_t> lost{0};       ///< leases whose connection broke
  std::atomic<std::uint64_t> refused{0};    ///< connections that could not be made
  std::atomic<std::uint64_t> conflicts{0};  ///< reads that a recovery conflict cancelled
  std::atomic<std::uint64_t> ejections{0};  ///< times it went down
};

/// One node. Stays where it is for as long as the cluster lives, also after it was removed.
template <class Backend>
struct Node {
  Node(NodeId number, Endpoint const& where, typename Backend::Address how, RoleHint label, Backend const& backend,
       PoolLimits limits)
      : id{number}, endpoint{where}, address{std::move(how)}, hint{label}, pool{backend, limits} {
    view.id = id;
    view.name = endpoint.name;
    view.zone = endpoint.zone;
    view.weight = endpoint.weight;
  }

  /// What every routing decision reads, in one cache line.
  alignas(64) Published<Standing> standing;
  ReplicaView view;                     ///< what policies are shown of it, as far as it never changes
  std::atomic<std::uint32_t> epoch{0};  ///< that of the standing, for who needs no more
  NodeId const id;
  Endpoint const endpoint;
  typename Backend::Address const address;
  RoleHint const hint;
  Published<NodeFacts> facts;
  Pool<Backend> pool;
  NodeCounters counters;
};

}  // namespace replica_router
