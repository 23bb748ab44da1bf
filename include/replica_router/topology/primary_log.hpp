// How fresh is who has replayed up to here? The primary's log as it told of it: positions, flushed and not yet flushed.
#pragma once

#include <algorithm>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/causality/lsn_clock.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/probe_answer.hpp"

namespace replica_router {

/// What one primary told of its log on one timeline, and what that proves of replicas.
///
/// Thread safety: none.
template <class Clock = LsnClock<>>
class PrimaryLog {
 public:
  /// Takes in an answer of the primary; ignored when it tells no position.
  void sample(ProbeAnswer const& answer) {
    if (!answer.position) {
      return;
    }
    clock_.sample(answer.asked_at, answer.position);
    // What reads write to the log (pruning, hint bits) may stay unflushed for long on an idle primary, and no replica
    // gets it before. No commit is among it that is older than `flush_delay`: so whoever has what was flushed has what
    // had been committed by then. Source: PostgreSQL documentation, "Asynchronous Commit" (three times
    // wal_writer_delay).
    flushed_ = answer.flushed.before_page_header();
    if (answer.flushed && answer.flush_delay > Duration::zero()) {
      flushed_clock_.sample(answer.asked_at - answer.flush_delay, answer.flushed);
    }
  }

  /// Forgets everything, as after a change of primary or timeline.
  void reset() {
    clock_.reset();
    flushed_clock_.reset();
    flushed_ = Lsn{};
  }

  /// The latest position; that of `never` before the first.
  Sample latest() const { return clock_.latest(); }

  /// How far `replay` is behind; zero for who has all that can be had, `Duration::max()` when older than every sample.
  Duration lag(Lsn replay) const {
    bool const has_all_there_is = flushed_ && replay >= flushed_;
    return has_all_there_is ? Duration::zero() : clock_.lag(replay);
  }

  /// A moment such that whoever has replayed `replay` has everything committed by then; `never` when nothing proves
  /// one.
  TimePoint as_of(Lsn replay) const { return std::max(clock_.as_of(replay), flushed_clock_.as_of(replay)); }

 private:
  Clock clock_;
  Clock flushed_clock_;
  Lsn flushed_;
};

}  // namespace replica_router
