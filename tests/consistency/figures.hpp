// How well does routing do when nothing is broken? The figures of freshness, on a healthy cluster.
#pragma once

#include <chrono>

#include "support/fault_schedule.hpp"

namespace replica_router::consistency {

/// Measures on a healthy cluster of its own, each part for `duration`, and prints what came out.
void print_figures(testing::FaultStage& stage, std::chrono::seconds duration);

}  // namespace replica_router::consistency
