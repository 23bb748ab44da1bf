// What is known of the cluster as a whole? The primary, its position, and what a session's position means by now.
#pragma once

#include <cstdint>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"

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

}  // namespace replica_router
