// Why not this node? Every node's part in the explanation of one read.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/read_contract.hpp"
#include "replica_router/observe/explanation.hpp"

namespace replica_router {

/// Says of each node whether it may serve the read now, and why not. `failed` has just failed it.
template <class Backend>
std::vector<NodeExplanation> explain_nodes(Cluster<Backend> const& cluster, ReadContract const& contract,
                                           std::vector<NodeId> const& failed) {
  std::vector<NodeExplanation> out;
  auto const now = cluster.backend().now();
  auto const max_lag = cluster.options().max_lag;
  for (auto const* node : cluster.nodes()) {
    if (node == nullptr) {
      continue;
    }
    auto const facts = node->facts.read();
    auto const& demand = contract.demand_of(node->id, facts.epoch);
    bool const has_failed = std::find(failed.begin(), failed.end(), node->id) != failed.end();
    auto const verdict =
        has_failed && facts.health == Health::up ? Verdict::failed_this_read : judge(facts, demand, max_lag);
    out.push_back(
        {node->endpoint.name, verdict, reason_text(facts, verdict, demand, max_lag, now, cluster.reason(node->id))});
  }
  return out;
}

}  // namespace replica_router
