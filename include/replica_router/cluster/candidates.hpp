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

namespace replica_router {

/// The replicas of one decision. Thread safety: none.
class Candidates {
 public:
  /// Judges all nodes but those in `failed` for the read.
  template <class Backend>
  void gather(Cluster<Backend> const& cluster, ReadContract const& contract, ReadRequest const& request,
              std::vector<NodeId> const& failed) {
    eligible_.clear();
    unproven_.clear();
    stale_.clear();
    is_unheard_of_ = false;
    ViewList warming;
    auto const& options = cluster.options();
    bool const is_demanding = !contract.demands_nothing();
    for (auto const* node : cluster.nodes()) {
      if (node == nullptr || (!failed.empty() && std::find(failed.begin(), failed.end(), node->id) != failed.end())) {
        continue;
      }
      auto const standing = node->standing.read();
      auto const verdict =
          is_demanding ? judge(standing, contract.demand_of(node->id, standing.epoch)) : standing.verdict;
      ViewList* list = nullptr;
      if (verdict == Verdict::eligible) {
        bool const is_admitted =
            standing.returned_at == never || is_let_in(node->id, standing.returned_at, options.warm_up, request);
        list = is_admitted ? &eligible_ : &warming;
      } else if (lacks_only_proof(verdict)) {
        list = &unproven_;
      } else if (verdict == Verdict::behind_max_lag) {
        list = &stale_;
      } else {
        is_unheard_of_ |= verdict == Verdict::unheard_of;
        continue;
      }
      auto const& view = node->view;
      list->emplace_back(view.id, view.name, view.zone, view.weight, node->pool.in_flight(), standing.lag,
                         staleness_of(standing, request.now), standing.latency);
    }
    for (auto const& view : unproven_.all()) {
      stale_.emplace_back(view);
    }
    if (eligible_.empty()) {
      for (auto const& view : warming.all()) {
        eligible_.emplace_back(view);
      }
    }
  }

  /// Those that may serve the read: proven, and let in where they are warming up.
  ViewList const& eligible() const { return eligible_; }
  /// Those that only lack proof: asking them can help.
  ViewList const& unproven() const { return unproven_; }
  /// Those that are alive and of this cluster, but not fresh enough as far as is known.
  ViewList const& stale() const { return stale_; }
  /// Whether some node has not been heard of yet.
  bool is_some_unheard_of() const { return is_unheard_of_; }

 private:
  /// Whether a replica that warms up takes this read. A draw for each node: two that warm up together are not let in by
  /// the same luck.
  static bool is_let_in(NodeId id, TimePoint returned_at, Duration warm_up, ReadRequest const& request) {
    auto const draw = ((request.entropy >> 32U) + id + 1) * 6364136223846793005U + 1442695040888963407U;
    return (draw >> 54U) < admitted_share(returned_at, warm_up, request.now);
  }

  ViewList eligible_;
  ViewList unproven_;
  ViewList stale_;
  bool is_unheard_of_ = false;
};

}  // namespace replica_router
