// On which replica does a random number fall, when each has its weight's share?
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// The greatest weight that policies tell apart; a heavier replica counts as this heavy.
inline constexpr std::uint32_t max_weight = 65'535;

/// The replica's weight as policies use it, from 1 to `max_weight`, so that no sum or product of weights overflows.
constexpr std::uint32_t weight_of(ReplicaView const& replica) {
  return std::clamp<std::uint32_t>(replica.weight, 1, max_weight);
}

/// The weights of all replicas for which `is_candidate(index)` holds, added up.
template <class IsCandidate>
std::uint64_t total_weight(std::span<ReplicaView const> replicas, IsCandidate is_candidate) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    total += is_candidate(i) ? weight_of(replicas[i]) : 0;
  }
  return total;
}

/// Whether there are replicas, all of them candidates and all of the same weight.
template <class IsCandidate>
bool are_all_alike(std::span<ReplicaView const> replicas, IsCandidate is_candidate) {
  std::size_t alike = 0;  // counted rather than tested one by one, so that there is no branch to foresee
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    alike += std::size_t{is_candidate(i)} * std::size_t{replicas[i].weight == replicas[0].weight};
  }
  return alike != 0 && alike == replicas.size();
}

/// The candidate on which `entropy` falls, each with probability weight / `total`.
///
/// `total` is what `total_weight` gives for the same candidates, and not zero.
template <class IsCandidate>
std::size_t pick_by_weight(std::uint32_t entropy, std::span<ReplicaView const> replicas, std::uint64_t total,
                           IsCandidate is_candidate) {
  auto at = (std::uint64_t{entropy} * total) >> 32;
  std::size_t picked = 0;
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    if (!is_candidate(i)) {
      continue;
    }
    picked = i;
    auto const weight = weight_of(replicas[i]);
    if (at < weight) {
      break;
    }
    at -= weight;
  }
  return picked;
}

}  // namespace replica_router
