// What is "now"? One monotonic time type for the whole library; the pure parts are handed it and never ask a clock.
#pragma once

#include <chrono>

namespace replica_router {

/// A moment on this process's monotonic clock. Comparing two machines' clocks never happens anywhere.
using TimePoint = std::chrono::steady_clock::time_point;

/// A span of monotonic time.
using Duration = std::chrono::steady_clock::duration;

/// Earlier than every real moment: "no evidence yet".
inline constexpr TimePoint never = TimePoint::min();

}  // namespace replica_router
