// Where does the data directory of a cluster's first server come from?
#pragma once

#include <filesystem>

#include "support/child_process.hpp"

namespace replica_router::testing {

/// Fills a data directory, with a system identifier of its own, by initdb, or in a fifth of the time by a copy of
/// what initdb made before.
///
/// What initdb makes is kept in the directory REPLICA_ROUTER_TEST_CACHE (a macro: a path in the build tree), for each
/// version of the server; without the macro nothing is kept. Processes may race for it: a copy appears whole, by a
/// rename, or not at all.
void make_initial_data(std::filesystem::path const& data, Account const& account);

}  // namespace replica_router::testing
