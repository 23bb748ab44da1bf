// What load is on the cluster while it is in trouble? Reads, and writes that carry a number each, all recorded.
#pragma once

#include <string>
#include <vector>

#include "replica_router/options.hpp"
#include "support/worker_process_run.hpp"

namespace replica_router::chaos {

/// The role that the load connects as: no superuser, so limits hold for it.
inline constexpr char const* load_role = "app";

/// The tables of the load, and its role.
std::string load_definition();

/// The router's options: the defaults, but for the longest pause until a node that is down is asked again.
Options options_for_load(std::vector<std::string> const& conninfos);

/// Reads and writes until standard input ends.
void run_load(testing::WorkerTask const& task);

}  // namespace replica_router::chaos
