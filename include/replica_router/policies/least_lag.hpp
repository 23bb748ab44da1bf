// Who is freshest? The replicas that are nearly as fresh as the freshest, and of two of those the less busy one.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "replica_router/duration_text.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/policies/two_choices.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// Two random choices among the replicas whose lag is within `tolerance` of the least; the less busy wins.
///
/// The tolerance keeps the whole fleet from herding on the one replica that happens to be a millisecond ahead.
/// An unknown lag never beats a known one; when all are unknown, all are equal.
class LeastLag {
 public:
  /// What a lag may exceed the least by, unless told otherwise.
  static constexpr Duration default_tolerance = std::chrono::milliseconds{500};

  LeastLag() = default;
  /// Throws: ConfigError when `tolerance` is negative.
  explicit LeastLag(Duration tolerance) : tolerance_{tolerance} {
    if (tolerance < Duration::zero()) {
      throw ConfigError("least-lag: tolerance=" + duration_text(tolerance) + " must be zero or longer");
    }
  }

  /// The less busy of two replicas drawn among the fresh ones.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) const {
    auto least = Duration::max();
    for (auto const& replica : eligible) {
      least = std::min(least, replica.lag);
    }
    auto const limit = limit_above(std::max(least, Duration::zero()));
    return less_busy_of_two(request.entropy, eligible,
                            [limit](ReplicaView const& replica) { return replica.lag <= limit; });
  }

  /// The policy's text form.
  std::string text() const {
    return tolerance_ == default_tolerance ? "least-lag" : "least-lag(tolerance=" + duration_text(tolerance_) + ")";
  }

 private:
  /// The longest lag that is near enough. An unknown one is not, unless the least is unknown too.
  Duration limit_above(Duration least) const {
    constexpr auto unknown = Duration::max();
    return least == unknown ? unknown : tolerance_ < unknown - least ? least + tolerance_ : unknown - Duration{1};
  }

  Duration tolerance_ = default_tolerance;
};

}  // namespace replica_router
