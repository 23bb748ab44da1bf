// What is a policy called, and does it demand anything? Two questions that every policy answers, a user's own too.
#pragma once

#include <concepts>
#include <string>

#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// The policy's text form, for messages and configuration: its `text()`, else its `name()`, else `custom`.
template <RoutingPolicy Policy>
std::string text_of(Policy const& policy) {
  if constexpr (requires {
                  { policy.text() } -> std::convertible_to<std::string>;
                }) {
    return policy.text();
  } else if constexpr (requires { std::string(policy.name()); }) {
    return std::string(policy.name());
  } else {
    return "custom";
  }
}

/// Whether the policy declares a contract, so that the router has to keep positions and proofs for it.
///
/// A policy that only passes on another's contract says so itself, with `bool demands_freshness() const`.
template <RoutingPolicy Policy>
bool demands_freshness(Policy const& policy) {
  if constexpr (requires {
                  { policy.demands_freshness() } -> std::same_as<bool>;
                }) {
    return policy.demands_freshness();
  } else {
    return DemandingPolicy<Policy>;
  }
}

}  // namespace replica_router
