// When was that long ago? Going back in time without falling off its beginning.
#pragma once

#include "replica_router/time_point.hpp"

namespace replica_router {

/// The moment `span` before `now`, and `never` when that lies before the beginning of time. `span` is not negative.
constexpr TimePoint moment_before(TimePoint now, Duration span) { return now > never + span ? now - span : never; }

}  // namespace replica_router
