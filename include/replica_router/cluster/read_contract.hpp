// What does this read need? The caller's, the session's and the router's demands as one contract.
#pragma once

#include <algorithm>
#include <cstdint>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/cluster/causal_scope.hpp"
#include "replica_router/cluster/read_terms.hpp"
#include "replica_router/read_options.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/transaction_modes.hpp"

namespace replica_router {

/// A read's contract: what every node must meet, and what to do when none does.
struct ReadContract {
  Freshness demand{};            ///< for every node
  NodeId last_node = no_node;    ///< the node the session read last, under monotonic reads; else `no_node`
  Freshness demand_elsewhere{};  ///< for every other node, where there is a last one
  std::uint32_t last_epoch = 0;  ///< that node's epoch then
  MonotonicReads monotonic = MonotonicReads::off;
  OnUnmet on_unmet = OnUnmet::primary;
  ReadMode mode = ReadMode::autocommit;
  Duration wait_up_to{};

  /// What is demanded of one node, which is in its `epoch` now.
  Freshness const& demand_of(NodeId id, std::uint32_t epoch) const {
    return last_node == no_node || (id == last_node && epoch == last_epoch) ? demand : demand_elsewhere;
  }

  /// Nothing is demanded of any node.
  bool demands_nothing() const { return demand.demands_nothing() && last_node == no_node; }

  /// What is demanded of a node that the session has not read last.
  Freshness const& strictest() const { return last_node == no_node ? demand : demand_elsewhere; }
};

/// Joins what the caller, the policy and the session demand. `request.now` is when the read began; staleness counts
/// from there.
template <RoutingPolicy Policy>
ReadContract contract_for(ReadTerms const& terms, Policy& policy, ReadRequest const& request,
                          CausalState const& session) {
  // The policy's demand is made where it stays: to copy it just after it was made costs as much as half the judging.
  ReadContract out{.demand = contract_of(policy, request)};
  auto const now = request.now;
  out.monotonic = terms.monotonic;
  out.on_unmet = terms.on_unmet;
  out.mode = terms.mode;
  out.wait_up_to = terms.wait_up_to;
  if (terms.max_staleness != Duration::max()) {
    out.demand.as_of = std::max(out.demand.as_of, now - terms.max_staleness);
  }
  if (terms.at_least) {
    out.demand.position = later_of(out.demand.position, {terms.at_least->lsn, terms.at_least->timeline, now});
  }
  if (out.monotonic == MonotonicReads::on && session.last_read_at != never) {
    out.last_node = session.last_read_node;
    out.last_epoch = session.last_read_epoch;
    out.demand_elsewhere = out.demand;
    out.demand_elsewhere.as_of = std::max(out.demand.as_of, session.last_read_at);
    // A concurrent read may have ended on another node just before: its data is a floor for the last node too.
    out.demand.as_of = std::max(out.demand.as_of, session.read_before_at);
  }
  return out;
}

}  // namespace replica_router
