// Which policies are there? Includes them all; see `routing_policy.hpp` for what a policy is and how to write one.
#pragma once

// IWYU pragma: begin_exports
#include "replica_router/policies/any_policy.hpp"
#include "replica_router/policies/least_in_flight.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/policies/lowest_latency.hpp"
#include "replica_router/policies/prefer_zone.hpp"
#include "replica_router/policies/random.hpp"
#include "replica_router/policies/round_robin.hpp"
#include "replica_router/policies/sticky_after_write.hpp"
#include "replica_router/policies/within_staleness.hpp"
// IWYU pragma: end_exports
