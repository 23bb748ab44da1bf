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
    auto const everyone = [](std::size_t) { return true; };
    auto const total = total_weight(eligible, everyone);
    if (total == 0) {
      return std::nullopt;
    }
    return pick_by_weight(static_cast<std::uint32_t>(request.entropy >> 32), eligible, total, everyone);
  }

  /// The policy's text form.
  std::string text() const { return "random"; }
};

}  // namespace replica_router
