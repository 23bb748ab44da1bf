// How does a transaction begin and end? The modes that a backend is asked for.
#pragma once

#include <cstdint>

namespace replica_router {

/// Whether the statements of a read share one snapshot.
enum class ReadMode : std::uint8_t {
  autocommit,  ///< each statement for itself, one round trip each
  snapshot,    ///< one READ ONLY REPEATABLE READ transaction
};

/// Whether a commit brings the primary's log position home.
enum class CommitPosition : std::uint8_t {
  captured,      ///< in the same message as `COMMIT`: no round trip more
  not_captured,  ///< a plain `COMMIT`
};

}  // namespace replica_router
