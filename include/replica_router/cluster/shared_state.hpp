// What do a router, its sessions and its leases have in common? Everything but the causal scope.
#pragma once

#include <atomic>
#include <optional>
#include <utility>

#include "replica_router/cluster/causal_scope.hpp"
#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/lease.hpp"
#include "replica_router/cluster/monitor.hpp"
#include "replica_router/cluster/node_status.hpp"
#include "replica_router/cluster/read_terms.hpp"
#include "replica_router/observe/status.hpp"
#include "replica_router/options.hpp"
#include "replica_router/policies/description.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/transaction_modes.hpp"

namespace replica_router {

/// The nodes, the policy and the monitor of one router. Goes with the last router, session or lease that shares it.
///
/// Thread safety: all calls.
template <RoutingPolicy Policy, class Backend>
struct SharedState {
  template <class... BackendArguments>
  SharedState(Options const& options, Policy&& chosen, BackendArguments&&... arguments)
      : backend{std::forward<BackendArguments>(arguments)...},
        policy{std::move(chosen)},
        cluster{options, backend},
        terms{terms_of(cluster.options())},
        monitor{cluster, backend},
        background{monitor} {}

  /// Whether commits bring their position home.
  CommitPosition commit_position() const {
    bool wanted = demands_freshness(policy);
    switch (cluster.options().capture_tokens) {
      case CaptureTokens::automatic: break;
      case CaptureTokens::always: wanted = true; break;
      case CaptureTokens::off: wanted = false; break;
    }
    return wanted ? CommitPosition::captured : CommitPosition::not_captured;
  }

  /// After a confirmed commit: the session must see it, and replicas are to be proven soon.
  void committed(CausalScope& scope, Lease<Backend> const& lease, std::optional<Lsn> lsn) {
    CausalPosition const position{lsn.value_or(Lsn{}), lsn ? lease.standing().timeline : 0, backend.now()};
    scope.must_see(position, cluster.facts());
    if (lsn) {
      cluster.nudge(position);
    }
  }

  /// What is known of each node now.
  Status status() const {
    Status out;
    auto const facts = cluster.facts();
    out.policy = text_of(policy);
    out.is_split = facts.is_split;
    out.system_identifier = facts.system_identifier;
    out.timeline = facts.timeline;
    out.position = facts.position;
    out.retries = cluster.log().retries();
    out.fallbacks = cluster.log().fallbacks();
    out.events_dropped = cluster.log().events().dropped();
    out.observer_failures = cluster.log().events().failures();
    for (auto const* node : cluster.nodes()) {
      if (node != nullptr) {
        out.nodes.push_back(status_of(cluster, *node, backend.now()));
        if (node->id == facts.primary) {
          out.primary = node->endpoint.name;
        }
      }
    }
    return out;
  }

  Backend backend;
  Policy policy;
  Cluster<Backend> cluster;
  ReadTerms const terms;  ///< what reads ask for where neither they nor their session say more
  Monitor<Backend> monitor;
  typename Backend::Background background;  ///< last, so that it stops first
};

}  // namespace replica_router
