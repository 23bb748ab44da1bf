// What did a node say of itself? The evidence that a probe brings home.
#pragma once

#include <cstdint>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// A node's answer to the health question. A fact that the server refused or lacks is unknown, never an error.
struct ProbeAnswer {
  bool is_in_recovery = false;          ///< `pg_is_in_recovery()`
  Lsn position;                         ///< replay position in recovery, else insert position; zero when unknown
  std::uint32_t timeline = 0;           ///< zero when unknown
  bool is_timeline_certain = true;      ///< false for a replica's last checkpoint's: it may follow a later one by now
  std::uint64_t system_identifier = 0;  ///< zero when unknown
  TimePoint asked_at = never;           ///< when the question was sent
  Duration round_trip{};                ///< from question to answer on an established connection; zero when unknown
  Lsn flushed;             ///< a primary's `pg_current_wal_flush_lsn()`: no replica gets more; zero when unknown
  Duration flush_delay{};  ///< what was committed this long ago is flushed, asynchronously too; zero when unknown
};

}  // namespace replica_router
