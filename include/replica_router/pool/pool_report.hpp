// How full is a pool, and who holds what? The figures behind `status()` and behind a `PoolTimeout`.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <string>

#include "replica_router/time_point.hpp"

namespace replica_router {

/// A wait for a connection was broken off because the node went down or was removed; the read is placed anew.
class PoolInterrupted : public std::exception {
 public:
  char const* what() const noexcept override { return "the node went down while a connection was waited for"; }
};

/// The state of one node's pool at one moment.
struct PoolReport {
  std::size_t max_connections = 0;
  std::size_t reserved_for_writes = 0;    ///< of the maximum, never taken by reads
  std::size_t open = 0;                   ///< leased, idle, or being opened
  std::size_t idle = 0;                   ///< open and free
  std::size_t leased_to_reads = 0;        ///< held by reads
  std::size_t leased_to_writes = 0;       ///< held by writes
  std::size_t leased_to_this_thread = 0;  ///< held by the thread that asks
  std::size_t waiting = 0;                ///< callers in the queue
  Duration longest_lease{};               ///< how long the oldest lease has been out

  /// One sentence that says who holds what and, where it applies, what to do.
  std::string text() const {
    auto const age = std::chrono::duration_cast<std::chrono::milliseconds>(longest_lease).count();
    auto out = std::to_string(leased_to_reads) + " connections are held by reads and " +
               std::to_string(leased_to_writes) + " by writes, of at most " + std::to_string(max_connections);
    if (reserved_for_writes > 0) {
      out += " (" + std::to_string(reserved_for_writes) + " reserved for writes)";
    }
    out +=
        "; the oldest lease is " + std::to_string(age) + " ms old, " + std::to_string(waiting) + " other callers wait";
    if (leased_to_this_thread > 0) {
      out += "; this thread already holds " + std::to_string(leased_to_this_thread) +
             " of this node's leases: return it before taking another, or raise max_connections";
    } else {
      out += "; return leases sooner, or raise max_connections";
    }
    return out;
  }
};

}  // namespace replica_router
