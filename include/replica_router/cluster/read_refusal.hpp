// Why could nobody serve this read? The error that says so, node by node.
#pragma once

#include <string>
#include <vector>

#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/node_explanations.hpp"
#include "replica_router/cluster/read_contract.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// A read that is about to be refused, and what was tried.
template <class Backend>
struct ReadRefusal {
  Cluster<Backend> const& cluster;
  ReadContract const& contract;
  std::vector<NodeId> const& failed;  ///< nodes that failed the read
  std::string const& last_failure;    ///< what the last of them said; empty when none was tried

  /// The contract forbids the primary.
  [[noreturn]] void by_contract() const {
    throw FreshnessUnmet{"no replica meets the read's contract, and it forbids the primary" + reasons()};
  }

  /// No node could serve it in time.
  [[noreturn]] void by_lack_of_nodes(bool is_some_unproven) const {
    if (contract.demand.placement == Placement::primary_only) {
      throw NoPrimaryAvailable{"the read demands the primary, and none is available" + reasons()};
    }
    if (is_some_unproven) {
      throw FreshnessUnmet{"no replica is proven to meet the read's contract, and the primary is not available" +
                           reasons()};
    }
    throw NoReplicaAvailable{"no node can serve the read" + reasons()};
  }

 private:
  std::string reasons() const {
    std::string out;
    for (auto const& node : explain_nodes(cluster, contract, failed)) {
      out += "; " + node.text();
    }
    if (!last_failure.empty()) {
      out += "; tried last: " + last_failure;
    }
    return out;
  }
};

}  // namespace replica_router
