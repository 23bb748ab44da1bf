// What has to happen for a replica to be proven, and when? The lack of proof of one read, and what is done about it.
#pragma once

#include <optional>
#include <utility>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/read_contract.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/catch_up.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/view_list.hpp"

namespace replica_router {

/// The proof that a read's contract waits for.
///
/// Thread safety: none. Lifetime: the cluster and the contract must outlive it.
template <class Backend>
class AwaitedProof {
 public:
  AwaitedProof(Cluster<Backend>& cluster, ReadContract const& contract) : cluster_{cluster}, contract_{contract} {}

  /// How far a replica has to replay to be proven; nothing where that alone cannot be the proof.
  std::optional<Lsn> wanted_of(Node<Backend> const& node) const { return wanted_of(node, node.facts.read()); }

  /// The replica that is expected to be proven first, and when: by its rate of replay, or, where some replica's rate is
  /// unknown and there is nothing to go by but its answers, nobody at `latest`, the end of the wait.
  std::pair<Node<Backend>*, TimePoint> first_arrival(ViewList const& unproven, TimePoint latest) const {
    std::pair<Node<Backend>*, TimePoint> first{nullptr, TimePoint::max()};
    for (auto const& view : unproven.all()) {
      auto* const node = cluster_.nodes()[view.id];
      auto const facts = node->facts.read();
      auto const wanted = wanted_of(*node, facts);
      auto const arrival = wanted ? replayed_at(facts, *wanted) : never;
      if (arrival == never && latest < first.second) {
        first = {nullptr, latest};
      } else if (arrival != never && arrival < first.second) {
        first = {node, arrival};
      }
    }
    return first;
  }

  /// Has nodes probed sooner, until replicas are proven.
  void nudge() const {
    if (contract_.demand.position.at != never) {
      cluster_.nudge(contract_.demand.position);
    }
    if (auto const moment = contract_.strictest().as_of; moment != never) {
      cluster_.nudge({Lsn{}, 0, moment});
    }
  }

 private:
  std::optional<Lsn> wanted_of(Node<Backend> const& node, NodeFacts const& facts) const {
    return wanted_position(facts, contract_.demand_of(node.id, facts.epoch), cluster_.facts());
  }

  Cluster<Backend>& cluster_;
  ReadContract const& contract_;
};

}  // namespace replica_router
