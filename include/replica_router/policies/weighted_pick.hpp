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

/// The weights of all replicas for which `is_candidate(replica)` holds, added up.
template <class IsCandidate>
std::uint64_t total_weight(std::span<ReplicaView const> replicas, IsCandidate is_candidate) {
  std::uint64_t total = 0;
  for (auto const& replica : replicas) {
    total += is_candidate(replica) ? weight_of(replica) : 0;
  }
  return total;
}

/// Whether there are replicas, all of them candidates and all of the same weight.
template <class IsCandidate>
bool are_all_alike(std::span<ReplicaView const> replicas, IsCandidate is_candidate) {
  if (replicas.empty()) {
    return false;
  }
  bool are_alike = true;  // looked at to the end, so that there is no branch to foresee
  for (auto const& replica : replicas) {
    are_alike &= is_candidate(replica) && replica.weight == replicas.front().weight;
  }
  return are_alike;
}

/// The one of `count` alike on which `entropy` falls. Without a walk, which would end where no processor can foresee.
constexpr std::size_t pick_alike(std::uint32_t entropy, std::size_t count) {
  return static_cast<std::size_t>((std::uint64_t{entropy} * count) >> 32);
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
    if (!is_candidate(replicas[i])) {
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
