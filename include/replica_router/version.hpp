// Which version of the library is this? The one place that says it: the build reads the numbers from here.
#pragma once

#include <string_view>

#define REPLICA_ROUTER_VERSION_MAJOR 0
#define REPLICA_ROUTER_VERSION_MINOR 1
#define REPLICA_ROUTER_VERSION_PATCH 0

#define REPLICA_ROUTER_DOTTED(major, minor, patch) #major "." #minor "." #patch
#define REPLICA_ROUTER_DOTTED_VALUES(...) REPLICA_ROUTER_DOTTED(__VA_ARGS__)

namespace replica_router {

/// The library's semantic version, such as "1.2.3".
inline constexpr std::string_view version = REPLICA_ROUTER_DOTTED_VALUES(
    REPLICA_ROUTER_VERSION_MAJOR, REPLICA_ROUTER_VERSION_MINOR, REPLICA_ROUTER_VERSION_PATCH);

}  // namespace replica_router

#undef REPLICA_ROUTER_DOTTED_VALUES
#undef REPLICA_ROUTER_DOTTED
