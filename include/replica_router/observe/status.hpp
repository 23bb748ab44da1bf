// How is everything? A snapshot of what the router knows of each node, to look at or to print.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "replica_router/observe/explanation.hpp"
#include "replica_router/pool/pool_report.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// One node's state at the moment of the call.
struct NodeStatus {
  std::string name;                      ///< the endpoint's name
  std::string address;                   ///< `host:port/dbname`, without any secret
  Health health = Health::unknown;       ///< whether it answers
  Role role = Role::unknown;             ///< what it is by its own word, checked against the others
  std::uint32_t timeline = 0;            ///< zero when unknown
  std::uint64_t system_identifier = 0;   ///< zero when unknown
  Lsn position;                          ///< replay position, or the primary's insert position; zero when unknown
  Duration lag = Duration::max();        ///< behind the latest known primary position; `Duration::max()` when unknown
  Duration staleness = Duration::max();  ///< the proven bound; `Duration::max()` when nothing is proven
  Duration latency{};                    ///< moving average of the probe's round trip; zero when unknown
  std::string reason;         ///< why the latest probe failed, in the server's or libpq's words; empty when it did not
  PoolReport pool;            ///< its connections
  std::uint64_t reads = 0;    ///< leases given to reads so far
  std::uint64_t writes = 0;   ///< leases given to writes so far
  std::uint64_t lost = 0;     ///< leases whose connection broke
  std::uint64_t refused = 0;  ///< connections that could not be made
  std::uint64_t conflicts = 0;  ///< reads that a recovery conflict cancelled
  std::uint64_t ejections = 0;  ///< times it went down

  /// `replica-1 (127.0.0.1:5433/shop): up, replica, lag 0 us, stale at most 120.4 ms, 2 of 10 connections, …`.
  template <class Self = NodeStatus>
  std::string text() const {
    Self const& self = *this;
    auto out = self.name + " (" + address + "): ";
    out += text_of(health);
    out += ", ";
    out += text_of(role);
    out += ", lag " + readable(self.lag) + ", stale at most " + readable(self.staleness) + ", answers in " +
           (latency == Duration::zero() ? "unknown" : readable(self.latency)) + ", " + std::to_string(self.pool.open) +
           " of " + std::to_string(self.pool.max_connections) + " connections, " + std::to_string(reads) + " reads, " +
           std::to_string(writes) + " writes";
    if (!reason.empty()) {
      out += ": " + reason;
    }
    return out;
  }
};

/// The state of all nodes, and of the cluster.
struct Status {
  std::string policy;                   ///< the policy's text form, or its type's name
  std::string primary;                  ///< the primary's name; empty while none is known
  bool is_split = false;                ///< two writable nodes that cannot be told apart: writes are refused
  std::uint64_t system_identifier = 0;  ///< zero when unknown
  std::uint32_t timeline = 0;           ///< the primary's; zero when unknown
  Lsn position;                         ///< the latest known primary position
  std::uint64_t retries = 0;            ///< reads and writes that were placed again because a node had failed them
  std::uint64_t fallbacks = 0;          ///< reads that the primary served
  std::uint64_t events_dropped = 0;     ///< events that the observer was too slow for
  std::uint64_t observer_failures = 0;  ///< events at which it threw
  std::vector<NodeStatus> nodes;        ///< one for each node

  /// One line for the cluster and one a node.
  template <class Self = Status>
  std::string text() const {
    Self const& self = *this;
    auto out = "policy " + self.policy + ", " + std::to_string(retries) + " retries, " + std::to_string(fallbacks) +
               " reads on the primary; ";
    out += is_split ? "split: two writable nodes of the same timeline, writes are refused"
           : primary.empty()
               ? "no primary known"
               : "primary " + self.primary + ", timeline " + std::to_string(timeline) + ", at " + position.text();
    for (auto const& node : nodes) {
      out += '\n' + node.text();
    }
    return out;
  }
};

}  // namespace replica_router
