// Who is least busy? Of two random replicas, the one with fewer leases in flight.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "replica_router/policies/two_choices.hpp"
#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// Two random choices, by weight; the one with fewer leases in flight for its weight wins.
///
/// Steers reads away from a replica that has become slow, since its leases pile up.
class LeastInFlight {
 public:
  /// The less busy of two replicas drawn by the request's entropy.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) const {
    return less_busy_of_two(request.entropy, eligible, [](ReplicaView const&) { return true; });
  }

  /// The policy's text form.
  std::string text() const { return "least-in-flight"; }
};

}  // namespace replica_router
