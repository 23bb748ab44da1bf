// Is it fresh enough for everyone? Demands a proven staleness bound of every read.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/duration_text.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/policies/description.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/policies/moment_before.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// Demands data that is at most `bound` old, and lets `Inner` choose among the replicas proven to have it.
template <RoutingPolicy Inner = LeastLag>
class WithinStaleness {
 public:
  /// Throws: ConfigError when `bound` is not longer than zero.
  explicit WithinStaleness(Duration bound, Inner inner = Inner{}) : bound_{bound}, inner_{std::move(inner)} {
    if (bound <= Duration::zero()) {
      throw ConfigError("within-staleness: bound=" + duration_text(bound) + " must be longer than zero");
    }
  }

  /// The inner policy's choice.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) {
    return inner_.choose(request, eligible);
  }

  /// Everything that the primary had `bound` ago, and what the inner policy demands.
  Freshness contract(ReadRequest const& request) {
    return joined(Freshness{.as_of = moment_before(request.now, bound_)}, contract_of(inner_, request));
  }

  /// The policy's text form.
  std::string text() const { return "within-staleness(" + text_of(inner_) + ", bound=" + duration_text(bound_) + ")"; }

 private:
  Duration bound_;
  Inner inner_;
};

WithinStaleness(Duration) -> WithinStaleness<>;
template <class Inner>
WithinStaleness(Duration, Inner) -> WithinStaleness<Inner>;

}  // namespace replica_router
