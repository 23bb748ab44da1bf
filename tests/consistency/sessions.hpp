// What do the sessions of one worker process do? Reads, writes and tokens at random, each recorded.
#pragma once

#include <string>

#include "support/worker_process_run.hpp"

namespace replica_router::consistency {

inline constexpr int key_count = 64;
inline constexpr int keys_a_read = 16;

/// The table that everything is about: one row a key.
std::string table_definition();

/// Runs sessions until standard input ends.
void run_sessions(testing::WorkerTask const& task);

}  // namespace replica_router::consistency
