// Which of two random replicas is less busy? Balances nearly as well as asking all, without herding on the best.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "replica_router/policies/weighted_pick.hpp"
#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// Whether `a` holds fewer leases than `b`, each measured against its weight.
constexpr bool is_less_busy(ReplicaView const& a, ReplicaView const& b) {
  return std::uint64_t{a.in_flight} * weight_of(b) < std::uint64_t{b.in_flight} * weight_of(a);
}

/// The less busy of two different replicas, drawn by weight from those for which `is_candidate(replica)` holds.
///
/// The first drawn when they are equally busy, the only one when there is just one, nothing when there is none.
/// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).
template <class IsCandidate>
std::optional<std::size_t> less_busy_of_two(std::uint64_t entropy, std::span<ReplicaView const> replicas,
                                            IsCandidate is_candidate) {
  auto const first_draw = static_cast<std::uint32_t>(entropy);
  auto const second_draw = static_cast<std::uint32_t>(entropy >> 32);
  if (are_all_alike(replicas, is_candidate)) {
    // By far the most frequent case.
    auto const n = replicas.size();
    auto const first = pick_alike(first_draw, n);
    auto const step = pick_alike(second_draw, n - 1);
    auto const second = step < first ? step : step + 1;
    return n > 1 && is_less_busy(replicas[second], replicas[first]) ? second : first;
  }
  auto const total = total_weight(replicas, is_candidate);
  if (total == 0) {
    return std::nullopt;
  }
  auto const first = pick_by_weight(first_draw, replicas, total, is_candidate);
  auto const rest = total - weight_of(replicas[first]);
  if (rest == 0) {
    return first;
  }
  auto const second = pick_by_weight(second_draw, replicas, rest, [&](ReplicaView const& replica) {
    return &replica != &replicas[first] && is_candidate(replica);
  });
  return is_less_busy(replicas[second], replicas[first]) ? second : first;
}

}  // namespace replica_router
