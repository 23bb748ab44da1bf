// Which nodes could serve this read? All nodes judged at one moment, sorted by what the read can do with them.
#pragma once

#include <algorithm>
#include <vector>

#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/read_contract.hpp"
#include "replica_router/observe/explanation.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/topology/eligibility.hpp"
#include "replica_router/topology/node_health.hpp"
#include "replica_router/view_list.hpp"

namespace replica_router::detail {

/// Calls `sort(node, standing, verdict)` for each node that has not failed the read.
template <class Backend, class Sort>
void judge_all(Cluster<Backend> const& cluster, ReadContract const& contract, std::vector<NodeId> const& failed,
               Sort sort) {
  bool const is_demanding = !contract.demands_nothing();
  for (auto const* node : cluster.nodes()) {
    if (node == nullptr || (!failed.empty() && std::find(failed.begin(), failed.end(), node->id) != failed.end())) {
      continue;
    }
    auto const standing = node->standing.read();
    sort(*node, standing,
         is_demanding ? judge(standing, contract.demand_of(node->id, standing.epoch)) : standing.verdict);
  }
}

/// Appends what a policy is shown of the node. Inlined by force: a call for each node is a third of a decision.
template <class Backend>
[[gnu::always_inline]] inline void append_view(ViewList& list, Node<Backend> const& node, Standing const& standing,
                                               TimePoint now) {
  auto const& view = node.view;
  list.emplace_back(view.id, view.name, view.zone, view.weight, node.pool.in_flight(), standing.lag,
                    staleness_of(standing, now), standing.latency);
}

}  // namespace replica_router::detail

namespace replica_router {

/// Puts into `eligible` the replicas that serve the read now: proven, and let in where they warm up. That is all that
/// nearly every read needs to know; where there is none, `Candidates` tells what can be done.
template <class Backend>
void gather_eligible(ViewList& eligible, Cluster<Backend> const& cluster, ReadContract const& contract,
                     ReadRequest const& request, std::vector<NodeId> const& failed) {
  eligible.clear();
  eligible.reserve(cluster.nodes().size());
  detail::judge_all(cluster, contract, failed, [&](auto const& node, Standing const& standing, Verdict verdict) {
    // A draw for each node: two that warm up together are not let in by the same luck.
    auto const is_let_in = [&] {
      auto const draw = ((request.entropy >> 32U) + node.id + 1) * 6364136223846793005U + 1442695040888963407U;
      return (draw >> 54U) < admitted_share(standing.returned_at, cluster.options().warm_up, request.now);
    };
    if (verdict == Verdict::eligible && (standing.returned_at == never || is_let_in())) {
      detail::append_view(eligible, node, standing, request.now);
    }
  });
}

/// All replicas that could serve a read, one way or another.
struct Candidates {
  ViewList eligible;                ///< proven; those that warm up with the others
  ViewList unproven;                ///< these only lack proof: asking them can help
  ViewList stale;                   ///< alive and of this cluster, but not fresh enough as far as is known
  bool is_some_unheard_of = false;  ///< some node has not been heard of yet

  template <class Backend>
  Candidates(Cluster<Backend> const& cluster, ReadContract const& contract, TimePoint now,
             std::vector<NodeId> const& failed) {
    detail::judge_all(cluster, contract, failed, [&](auto const& node, Standing const& standing, Verdict verdict) {
      if (verdict == Verdict::eligible) {
        detail::append_view(eligible, node, standing, now);
      } else if (lacks_only_proof(verdict) || verdict == Verdict::behind_max_lag) {
        detail::append_view(stale, node, standing, now);
      }
      if (lacks_only_proof(verdict)) {
        unproven.emplace_back(stale.all().back());
      }
      is_some_unheard_of |= verdict == Verdict::unheard_of;
    });
  }
};

}  // namespace replica_router
