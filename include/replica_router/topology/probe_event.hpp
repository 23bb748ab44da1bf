// What became of a probe? An answer, or the reason why there is none.
#pragma once

#include <optional>
#include <string>

#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/node_health.hpp"
#include "replica_router/topology/probe_answer.hpp"

namespace replica_router {

/// Something that a prober has to tell of a node.
struct ProbeEvent {
  NodeId node = no_node;
  std::optional<ProbeFailure> failure;  ///< nothing when `answer` is one
  std::string reason;                   ///< libpq's or the server's own words, without any secret
  ProbeAnswer answer{};                 ///< what the node said of itself
};

}  // namespace replica_router
