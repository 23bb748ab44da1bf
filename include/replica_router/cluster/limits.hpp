// How do options become limits? What the probing and the pools are told of them.
#pragma once

#include <cstddef>

#include "replica_router/options.hpp"
#include "replica_router/pool/pool_slot.hpp"
#include "replica_router/topology/probe_schedule.hpp"

namespace replica_router {

/// How options become limits of the probing.
inline TopologyLimits topology_limits_of(Options const& options) {
  TopologyLimits out;
  out.health = {static_cast<int>(options.down_after), options.backoff, options.max_backoff};
  out.probe_interval = options.probe_interval;
  out.idle_probe_interval = options.idle_probe_interval;
  out.nudge_interval = options.nudge_interval;
  return out;
}

/// How options become limits of each node's pool.
inline PoolLimits pool_limits_of(Options const& options) {
  return {static_cast<std::size_t>(options.max_connections), static_cast<std::size_t>(options.reserved_for_writes),
          options.idle_timeout, options.max_lifetime};
}

}  // namespace replica_router
