// Which of the eligible replicas? What a policy is, what it is shown and what it answers.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// What a policy is told of the read to be placed.
struct ReadRequest {
  TimePoint now = never;         ///< the moment of the decision
  CausalPosition last_commit{};  ///< the session's last write; `last_commit.at == never` when it has written nothing
  std::uint64_t entropy = 0;     ///< uniformly random bits, fresh for each call, so that a policy needs no generator
  std::string_view zone{};       ///< the zone this application runs in; empty when not configured
};

/// What a policy is told of one eligible replica. Copied for one decision; keep nothing of it.
struct ReplicaView {
  std::size_t id = 0;        ///< the same number for the same replica at every call; small, may be reused after removal
  std::string_view name{};   ///< the endpoint's name, unique among the nodes
  std::string_view zone{};   ///< the endpoint's zone; empty when not configured
  std::uint32_t weight = 1;  ///< the endpoint's configured weight, at least 1
  std::uint32_t in_flight = 0;  ///< leases that this process holds on it now, or waits for
  Duration lag{};               ///< how far behind the primary's latest known position; `Duration::max()` when unknown
  Duration staleness = Duration::max();  ///< the proven staleness bound; `Duration::max()` when unknown
  Duration latency{};                    ///< moving average of the probe's round trip; zero when unknown
};

/// A policy chooses among eligible replicas.
///
/// `choose` returns an index into `eligible` (which is never empty), or nothing to mean "the primary". It does no I/O,
/// is called from any thread, concurrently, and may be asked again for the same read after a node has failed.
///
/// A policy may also have `Freshness contract(ReadRequest const&)`: what it demands of every read, joined with the
/// caller's own demand before replicas are judged.
template <class Policy>
concept RoutingPolicy = std::move_constructible<Policy> &&
                        requires(Policy& policy, ReadRequest const& request, std::span<ReplicaView const> eligible) {
                          { policy.choose(request, eligible) } -> std::same_as<std::optional<std::size_t>>;
                        };

/// A policy that demands freshness of its own.
template <class Policy>
concept DemandingPolicy = RoutingPolicy<Policy> && requires(Policy& policy, ReadRequest const& request) {
  { policy.contract(request) } -> std::same_as<Freshness>;
};

/// The freshness that the policy demands; nothing for a policy that declares no contract.
template <RoutingPolicy Policy>
Freshness contract_of(Policy& policy, ReadRequest const& request) {
  if constexpr (DemandingPolicy<Policy>) {
    return policy.contract(request);
  } else {
    return {};
  }
}

}  // namespace replica_router
