// Where does this read go now? From the contract over the eligible replicas to a lease.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/cluster/awaited_proof.hpp"
#include "replica_router/cluster/candidates.hpp"
#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/lease.hpp"
#include "replica_router/cluster/lease_attempt.hpp"
#include "replica_router/cluster/node_explanations.hpp"
#include "replica_router/cluster/read_contract.hpp"
#include "replica_router/cluster/read_refusal.hpp"
#include "replica_router/cluster/read_terms.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/failure.hpp"
#include "replica_router/observe/explanation.hpp"
#include "replica_router/observe/observer.hpp"
#include "replica_router/policies/description.hpp"
#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// Places one read: asked again after a failure, it leaves out the nodes that have failed.
///
/// Thread safety: none; one object a read.
template <RoutingPolicy Policy, class Backend>
class ReadRoute {
 public:
  using NodeType = Node<Backend>;

  ReadRoute(Cluster<Backend>& cluster, Backend const& backend, Policy& policy, CausalState const& session,
            ReadTerms const& terms)
      : cluster_{cluster},
        backend_{backend},
        policy_{policy},
        options_{cluster_.options()},
        request_{.now = backend_.now(), .last_commit = session.last_commit, .zone = options_.zone},
        contract_{contract_for(terms, policy_, request_, session)},
        began_at_{request_.now},
        deadline_{request_.now + terms.deadline} {
    cluster_.demand(request_.now);
    if (contract_.demand.position.at != never) {
      cluster_.demand_proof(request_.now);
    }
  }

  ReadRoute(ReadRoute const&) = delete;
  ReadRoute& operator=(ReadRoute const&) = delete;
  ~ReadRoute() = default;

  /// Leases a connection of the node that the read goes to now; the route keeps the lease.
  ///
  /// Throws: `FreshnessUnmet`, `NoReplicaAvailable`, `NoPrimaryAvailable` when no node may or can serve it in time;
  /// `PoolTimeout`; the server's error where a registered statement cannot be prepared on the primary.
  Lease<Backend>& take() {
    while (!attempt()) {
      lease_.reset();
    }
    cluster_.log().route(Operation::read, lease_->node(), lease_->standing());
    return *lease_;
  }

  /// In a `catch` block: returns when the read is to be placed anew, rethrows when the error is the caller's.
  void run_elsewhere_or_rethrow() {
    auto& lease = *lease_;
    auto const failure = backend_.failure_in_flight(lease.connection());
    bool const is_lost = failure == Failure::connection_lost;
    bool const is_conflict =
        lease.standing().role == Role::replica && (failure == Failure::serialization || failure == Failure::deadlock);
    if ((!is_lost && !is_conflict) || backend_.now() >= deadline_) {
      throw;
    }
    if (is_conflict) {
      lease.node().counters.conflicts.fetch_add(1, std::memory_order_relaxed);
    }
    leave_out(lease.node(), text_in_flight());
    lease_.reset();
  }

  /// The contract that the read is held to.
  ReadContract const& contract() const { return contract_; }

  /// What would happen now, and why. Leases nothing.
  Explanation explain() {
    Explanation out;
    request_.entropy = backend_.entropy();
    ViewList admitted;
    gather_eligible(admitted, cluster_, contract_, request_, failed_);
    Candidates const candidates{cluster_, contract_, request_.now, failed_};
    auto const& eligible = admitted.empty() ? candidates.eligible : admitted;
    bool const is_met = !eligible.empty();
    NodeType const* chosen = nullptr;
    if (is_met) {
      chosen = ask_policy(eligible);
    } else if (contract_.on_unmet == OnUnmet::serve_stale && !candidates.stale.empty()) {
      chosen = ask_policy(candidates.stale);
    }
    if (chosen == nullptr && (is_met || contract_.on_unmet != OnUnmet::fail)) {
      chosen = cluster_.primary();
    }
    out.chosen = chosen == nullptr ? "" : chosen->endpoint.name;
    out.nodes = explain_nodes(cluster_, contract_, failed_);
    return out;
  }

 private:
  /// One try to take a lease; false when the situation has changed and is to be looked at anew.
  bool attempt() {
    auto const seen = cluster_.changes();
    if (std::exchange(is_looked_at_, true)) {
      request_.now = backend_.now();
    }
    request_.entropy = backend_.entropy();
    ViewList eligible;
    gather_eligible(eligible, cluster_, contract_, request_, failed_);
    return eligible.empty() ? attempt_unmet(seen) : attempt_among(eligible, seen);
  }

  /// The same among replicas that may serve the read.
  bool attempt_among(ViewList const& eligible, std::uint64_t seen) {
    auto* const chosen = ask_policy(eligible);
    return chosen != nullptr ? take_from(*chosen, Purpose::replica_read)
                             : take_from_primary(seen, FallbackReason::policy);
  }

  /// The same where no replica is proven to meet the contract, or none but such as warm up.
  [[gnu::noinline]] bool attempt_unmet(std::uint64_t seen) {
    Candidates const candidates{cluster_, contract_, request_.now, failed_};
    if (!candidates.eligible.empty()) {
      return attempt_among(candidates.eligible, seen);
    }
    if (!candidates.unproven.empty() && !std::exchange(is_verified_, true)) {
      return verify(ask_policy(candidates.unproven));
    }
    auto const wait_until = began_at_ + contract_.wait_up_to;
    if (!candidates.unproven.empty() && request_.now < wait_until) {
      auto const [node, arrival] = proof().first_arrival(candidates.unproven, wait_until);
      if (arrival <= wait_until) {
        proof().nudge();
        return !cluster_.wait_for_change(seen, arrival) && verify(node);
      }
    }
    // Nothing is known of some node yet, as at the start: no reason to fail, nor to send a whole fleet to the primary.
    auto const patience = std::min(deadline_, cluster_.began_at() + options_.probe_timeout);
    if (candidates.is_some_unheard_of && request_.now < patience) {
      cluster_.wait_for_change(seen, patience);
      return false;
    }
    switch (contract_.on_unmet) {
      case OnUnmet::primary: break;
      case OnUnmet::fail: refusal().by_contract();
      case OnUnmet::serve_stale:
        if (!candidates.stale.empty()) {
          if (auto* const chosen = ask_policy(candidates.stale)) {
            return take_from(*chosen, Purpose::replica_read);
          }
        }
        break;
    }
    return take_from_primary(seen, contract_.demand.placement == Placement::primary_only ? FallbackReason::policy
                                   : candidates.unproven.empty()                         ? FallbackReason::no_replica
                                                                                         : FallbackReason::unproven);
  }

  [[gnu::noinline]] bool take_from_primary(std::uint64_t seen, FallbackReason reason) {
    if (auto* const primary = cluster_.primary(); primary != nullptr && !has_failed(*primary)) {
      bool const is_taken = take_from(*primary, Purpose::primary_read);
      if (is_taken) {
        cluster_.log().fallback(*primary, reason);
      }
      return is_taken;
    }
    if (backend_.now() >= deadline_) {
      refusal().by_lack_of_nodes(reason == FallbackReason::unproven);
    }
    // Nobody can serve it now. A node that returns, or a new primary, is news.
    cluster_.wait_for_change(seen, deadline_);
    failed_.clear();
    is_verified_ = false;
    return false;
  }

  /// The policy's choice; nothing for the primary.
  NodeType* ask_policy(ViewList const& views) {
    auto const eligible = views.all();
    std::optional<std::size_t> const choice = policy_.choose(request_, eligible);
    if (!choice) {
      return nullptr;
    }
    if (*choice >= eligible.size()) {
      throw UsageError{"the routing policy " + text_of(policy_) + " chose replica number " + std::to_string(*choice) +
                       " of " + std::to_string(eligible.size()) +
                       ": it must return an index into the eligible replicas, or nothing"};
    }
    return cluster_.node(eligible[*choice].id);
  }

  /// Leases a connection of one node; false when the node turned out to be unable, which is noted.
  bool take_from(NodeType& node, Purpose purpose) {
    auto const standing = node.standing.read();
    auto* const slot =
        try_lease(cluster_, node, standing.epoch, purpose, Patience{began_at_, request_.now, deadline_}, last_failure_);
    if (slot == nullptr) {
      leave_out(node, last_failure_);
      return false;
    }
    if (!prepare(lease_.emplace(cluster_, node, *slot, standing), purpose)) {
      return false;
    }
    node.counters.reads.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  /// Prepares what the connection does not know yet. On a replica that cannot (its schema may lag) the read goes on to
  /// another node; on the primary the statement itself is wrong, and the server's error says so.
  bool prepare(Lease<Backend>& lease, Purpose purpose) {
    try {
      cluster_.statements().prepare_on(lease.connection());
      return true;
    } catch (...) {
      if (purpose == Purpose::primary_read || !backend_.failure_in_flight(lease.connection())) {
        throw;
      }
      last_failure_ = lease.node().endpoint.name + ": a registered statement could not be prepared there";
    }
    leave_out(lease.node(), last_failure_);
    return false;
  }

  /// Asks a replica that only lacks proof how far it is by now: one round trip, and everybody learns the answer.
  [[gnu::noinline]] bool verify(NodeType* node) {
    if (node == nullptr || !proof().wanted_of(*node) || !take_from(*node, Purpose::replica_read)) {
      return false;
    }
    try {
      auto const asked_at = backend_.now();
      auto const position = lease_->connection().replayed();
      cluster_.replayed(node->id, lease_->standing().epoch, position, asked_at);
    } catch (...) {
      if (!backend_.failure_in_flight(lease_->connection())) {
        throw;
      }
      leave_out(*node, text_in_flight());
      return false;
    }
    auto const standing = node->standing.read();
    if (judge(standing, contract_.demand_of(node->id, standing.epoch)) == Verdict::eligible) {
      return true;
    }
    node->counters.reads.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }

  /// The node has failed this read.
  void leave_out(NodeType const& node, std::string const& reason) {
    failed_.push_back(node.id);
    cluster_.log().retry(Operation::read, node, reason);
  }

  bool has_failed(NodeType const& node) const {
    return std::find(failed_.begin(), failed_.end(), node.id) != failed_.end();
  }

  AwaitedProof<Backend> proof() const { return {cluster_, contract_}; }
  ReadRefusal<Backend> refusal() const { return {cluster_, contract_, failed_, last_failure_}; }

  Cluster<Backend>& cluster_;
  Backend const& backend_;
  Policy& policy_;
  Options const& options_;
  ReadRequest request_;
  ReadContract const contract_;
  TimePoint const began_at_;
  TimePoint const deadline_;
  bool is_looked_at_ = false;  // before, the moment of the beginning is good enough
  bool is_verified_ = false;
  std::vector<NodeId> failed_;
  std::string last_failure_;
  std::optional<Lease<Backend>> lease_;
};

}  // namespace replica_router
