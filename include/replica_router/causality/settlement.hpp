// What became of a transaction whose COMMIT was not answered? The server's word, and when it can be believed.
#pragma once

#include <cstdint>
#include <string_view>

#include "replica_router/causality/lsn.hpp"

namespace replica_router {

/// What is known of a commit that was in doubt.
enum class Settlement : std::uint8_t {
  committed,    ///< it did happen
  aborted,      ///< it did not, and never will
  in_progress,  ///< the server has not noticed the loss of the connection yet: ask again
  unknown,      ///< nobody can tell
};

/// What a transaction is known by after its connection was lost; taken when it begins.
struct TransactionMark {
  std::uint64_t id = 0;  ///< `pg_current_xact_id()`; zero when it was not taken
  Lsn flushed;           ///< `pg_current_wal_flush_lsn()` then: a crash loses nothing before it
};

/// What the control file tells of the latest checkpoint (`pg_control_checkpoint()`).
struct LatestCheckpoint {
  Lsn position;
  Lsn redo;                   ///< the same as `position` for the one that a shutdown or the recovery from a crash makes
  std::uint64_t next_id = 0;  ///< no transaction id from here on was in the log then
};

/// What `pg_xact_status` means for the transaction.
///
/// A crash forgets ids of which nothing was flushed, and the server gives them out again: "committed" may then be said
/// of another transaction. It is believed only where no crash can have come between, or where the first checkpoint
/// after it shows that the id had survived. "aborted" is always true: an id that was given out again was lost before.
constexpr Settlement settled(std::string_view status, TransactionMark const& mark, LatestCheckpoint const& checkpoint) {
  if (status == "aborted") {
    return Settlement::aborted;
  }
  bool const no_crash_since = checkpoint.position < mark.flushed;
  bool const is_first_since_start = checkpoint.position == checkpoint.redo;
  if (!no_crash_since && is_first_since_start && checkpoint.next_id <= mark.id) {
    return Settlement::aborted;
  }
  if (status == "in progress") {
    return Settlement::in_progress;
  }
  bool const is_believed = no_crash_since || is_first_since_start;
  return status == "committed" && is_believed ? Settlement::committed : Settlement::unknown;
}

}  // namespace replica_router
