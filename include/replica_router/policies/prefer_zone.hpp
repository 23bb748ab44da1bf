// Is there one in our own zone? Keeps reads within the application's zone as long as a replica there is eligible.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/policies/description.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/routing_policy.hpp"

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
    Room room;
    std::vector<ReplicaView> many;
    std::size_t near = 0;
    for (std::size_t i = 0; i < eligible.size(); ++i) {
      if (eligible[i].zone != request.zone) {
        continue;
      }
      if (near == Room::capacity && many.empty()) {
        many.assign(room.views, room.views + near);
      }
      if (near < Room::capacity) {
        std::construct_at(room.views + near, eligible[i]);
      } else {
        many.push_back(eligible[i]);
      }
      ++near;
    }
    if (near == 0 || near == eligible.size()) {
      return inner_.choose(request, eligible);
    }
    auto const chosen = inner_.choose(request, many.empty() ? std::span<ReplicaView const>{room.views, near} : many);
    return chosen ? std::optional{index_of_near(*chosen, request, eligible)} : std::nullopt;
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
  /// Room for a usual number of replicas without allocating, and without initialising what will not be used.
  union Room {
    static constexpr std::size_t capacity = 16;
    Room() {}
    ReplicaView views[capacity];
  };
  static_assert(std::is_trivially_destructible_v<ReplicaView>);

  /// The place among `eligible` of the replica that is `rank`-th among the near ones.
  static std::size_t index_of_near(std::size_t rank, ReadRequest const& request,
                                   std::span<ReplicaView const> eligible) {
    for (std::size_t i = 0; i < eligible.size(); ++i) {
      if (eligible[i].zone == request.zone && rank-- == 0) {
        return i;
      }
    }
    // A rank out of range stays out of range: the router reports it, by the policy's name.
    return eligible.size();
  }

  Inner inner_{};
};

template <class Inner>
PreferZone(Inner) -> PreferZone<Inner>;

}  // namespace replica_router
