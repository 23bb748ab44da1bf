// Who is nearest? The replicas that answer nearly as fast as the fastest, and of two of those the less busy one.
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

/// Two random choices among the replicas whose latency is within `window` of the best; the less busy wins.
///
/// A replica whose latency is not known yet counts as inside the window, so that new nodes are tried.
class LowestLatency {
 public:
  /// What a latency may exceed the best by, unless told otherwise. Tells another region from this one, and lies above
  /// the noise of a moving average between zones, which would otherwise be sorted as if it meant distance.
  static constexpr Duration default_window = std::chrono::milliseconds{5};

  LowestLatency() = default;
  /// Throws: ConfigError when `window` is negative.
  explicit LowestLatency(Duration window) : window_{window} {
    if (window < Duration::zero()) {
      throw ConfigError("lowest-latency: window=" + duration_text(window) + " must be zero or longer");
    }
  }

  /// The less busy of two replicas drawn among the near ones.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) const {
    auto best = Duration::max();
    for (auto const& replica : eligible) {
      if (is_known(replica)) {
        best = std::min(best, replica.latency);
      }
    }
    // An unknown latency is zero, and so within any limit.
    auto const limit = window_ < Duration::max() - best ? best + window_ : Duration::max();
    return less_busy_of_two(request.entropy, eligible,
                            [limit](ReplicaView const& replica) { return replica.latency <= limit; });
  }

  /// The policy's text form.
  std::string text() const {
    return window_ == default_window ? "lowest-latency" : "lowest-latency(window=" + duration_text(window_) + ")";
  }

 private:
  static bool is_known(ReplicaView const& replica) { return replica.latency > Duration::zero(); }

  Duration window_ = default_window;
};

}  // namespace replica_router
