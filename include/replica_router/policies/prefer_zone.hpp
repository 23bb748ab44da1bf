// Is there one in our own zone? Keeps reads within the application's zone as long as a replica there is eligible.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/policies/description.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/view_list.hpp"

namespace replica_router {

/// Lets `Inner` choose among the eligible replicas of the request's zone, or among all when there is none or no zone.
template <RoutingPolicy Inner = LeastLag>
class PreferZone {
 public:
  PreferZone()
    requires std::default_initializable<Inner>
  = default;
  explicit PreferZone(Inner inner) : inner_{std::move(inner)} {}

  /// The inner policy's choice among the replicas at hand.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) {
    if (request.zone.empty()) {
      return inner_.choose(request, eligible);
    }
    auto const is_near = [&](ReplicaView const& replica) { return replica.zone == request.zone; };
    ViewList near;
    if (eligible.size() > ViewList::inline_capacity) {
      near.reserve(static_cast<std::size_t>(std::count_if(eligible.begin(), eligible.end(), is_near)));
    }
    for (auto const& replica : eligible) {
      if (is_near(replica)) {
        near.emplace_back(replica);
      }
    }
    if (near.empty() || near.all().size() == eligible.size()) {
      return inner_.choose(request, eligible);
    }
    auto const chosen = inner_.choose(request, near.all());
    return chosen ? std::optional{index_of(*chosen, near.all(), eligible)} : std::nullopt;
  }

  /// The inner policy's demand.
  Freshness contract(ReadRequest const& request)
    requires DemandingPolicy<Inner>
  {
    return inner_.contract(request);
  }

  /// Whether the inner policy demands anything.
  bool demands_freshness() const { return replica_router::demands_freshness(inner_); }

  /// The policy's text form.
  std::string text() const { return "prefer-zone(" + text_of(inner_) + ")"; }

 private:
  /// The place among `eligible` of the chosen one of the near ones.
  static std::size_t index_of(std::size_t chosen, std::span<ReplicaView const> near,
                              std::span<ReplicaView const> eligible) {
    for (std::size_t i = 0; i < eligible.size() && chosen < near.size(); ++i) {
      if (eligible[i].id == near[chosen].id) {
        return i;
      }
    }
    // An index out of range stays out of range: the router reports it, by the policy's name.
    return eligible.size();
  }

  Inner inner_{};
};

template <class Inner>
PreferZone(Inner) -> PreferZone<Inner>;

}  // namespace replica_router
