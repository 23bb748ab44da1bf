// Any of them? A random replica, each with the probability that its weight gives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "replica_router/policies/weighted_pick.hpp"
#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// A random eligible replica, in proportion to weight. Has no memory, so many short-lived processes spread evenly too.
class Random {
 public:
  /// The replica on which the request's entropy falls.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) const {
    if (eligible.empty()) {
      return std::nullopt;
    }
    auto const everyone = [](ReplicaView const&) { return true; };
    auto const draw = static_cast<std::uint32_t>(request.entropy >> 32);
    if (are_all_alike(eligible, everyone)) {
      return pick_alike(draw, eligible.size());
    }
    return pick_by_weight(draw, eligible, total_weight(eligible, everyone), everyone);
  }

  /// The policy's text form.
  std::string text() const { return "random"; }
};

}  // namespace replica_router
