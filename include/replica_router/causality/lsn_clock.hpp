// When was the primary at this log position? The record of what it said, from which every proof of freshness comes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// Where the primary was, as asked at one moment: whoever has `lsn` has everything the primary had at `asked_at`.
struct Sample {
  TimePoint asked_at = never;
  Lsn lsn;

  friend constexpr bool operator==(Sample const&, Sample const&) = default;
};

/// Samples of the primary's insert position on one timeline, in a room that is fixed. When it is full the samples are
/// thinned out, the more the older they are: it always reaches back to the first one, and what is lost makes answers
/// older, never fresher (by a few hundredths after a day, with the default capacity and four samples a second).
///
/// Allocates when it is made or copied, never later. Thread safety: none.
template <class Position = Lsn>
class LsnClock {
 public:
  /// `capacity`: how many positions are kept; at least 4.
  explicit LsnClock(std::size_t capacity = 1024) : stays_(std::max<std::size_t>(capacity, 4)) {}

  /// Takes in the primary's insert position, as answered to a question sent at `asked_at`. Ignored when that is not
  /// later than the latest sample, or when there is no position. A position below the latest one means that the primary
  /// crashed and lost log that it had not yet flushed: what was seen above it never happened.
  void sample(TimePoint asked_at, Position insert_position) {
    if (!insert_position || (size_ > 0 && asked_at <= stays_[size_ - 1].until)) {
      return;
    }
    auto const lsn = insert_position.before_page_header();
    auto const survivors = first_above(lsn);
    bool const is_after_loss = survivors < size_;
    size_ = survivors;
    if (size_ > 0 && stays_[size_ - 1].lsn == lsn) {
      stays_[size_ - 1].until = asked_at;
      return;
    }
    if (size_ == stays_.size()) {
      thin();
    }
    // What lies between was passed before the crash, nobody knows when.
    auto const since = is_after_loss && size_ > 0 ? stays_[size_ - 1].until : asked_at;
    stays_[size_] = {lsn, since, asked_at};
    ++size_;
  }

  /// Forgets everything, as after a change of timeline.
  void reset() { size_ = 0; }

  /// A moment such that whoever has replayed `replay` has everything the primary had then: that of the latest sample at
  /// or below it; `never` when nothing proves one.
  TimePoint as_of(Position replay) const {
    auto const above = first_above(replay);
    return above == 0 ? never : stays_[above - 1].until;
  }

  /// How far `replay` is behind the latest sample: zero when at or past it, otherwise the time since the primary passed
  /// it (between two samples taken to move evenly); `Duration::max()` when older than every sample.
  Duration lag(Position replay) const {
    auto const above = first_above(replay);
    if (above == 0) {
      return Duration::max();
    }
    if (above == size_) {
      return Duration::zero();
    }
    Stay const& before = stays_[above - 1];
    Stay const& after = stays_[above];
    auto const pause = static_cast<double>((after.since - before.until).count());
    auto const passed = pause * static_cast<double>(replay.bytes_since(before.lsn)) /
                        static_cast<double>(after.lsn.bytes_since(before.lsn));
    return stays_[size_ - 1].until - before.until - Duration{static_cast<Duration::rep>(passed)};
  }

  /// The latest sample; that of `never` before the first.
  Sample latest() const { return size_ == 0 ? Sample{} : Sample{stays_[size_ - 1].until, stays_[size_ - 1].lsn}; }

 private:
  /// The primary was seen at `lsn` first at `since`, or before, and last at `until`. Positions and times grow along the
  /// record.
  ///
  /// Both ends of a stay are kept, because a replica that lacks the last record before a quiet hour lags by that hour.
  struct Stay {
    Position lsn;
    TimePoint since = never;
    TimePoint until = never;
  };

  std::size_t first_above(Position replay) const {
    auto const end = stays_.begin() + static_cast<std::ptrdiff_t>(size_);
    auto const found = std::upper_bound(stays_.begin(), end, replay,
                                        [](Position wanted, Stay const& stay) { return wanted < stay.lsn; });
    return static_cast<std::size_t>(found - stays_.begin());
  }

  /// Drops an eighth of the stays or more, those first whose loss changes an answer least in proportion to its age;
  /// never the oldest or the latest.
  void thin() {
    auto const wanted = size_ - std::max<std::size_t>(size_ / 8, 1);
    for (double tolerance = 1.0 / 1024; size_ > wanted; tolerance *= 2) {
      auto const now = stays_[size_ - 1].until;
      std::size_t kept = 1;
      for (std::size_t i = 1; i < size_; ++i) {
        Stay const& before = stays_[kept - 1];
        auto const age = static_cast<double>((now - stays_[i].until).count());
        bool const is_dropped =
            i + 1 < size_ && static_cast<double>((stays_[i + 1].until - before.until).count()) <= tolerance * age;
        if (is_dropped) {
          // A line across the gap could run above the steps that it replaces; its lowest point cannot.
          stays_[i + 1].since = before.until;
        } else {
          stays_[kept] = stays_[i];
          ++kept;
        }
      }
      size_ = kept;
    }
  }

  std::vector<Stay> stays_;
  std::size_t size_ = 0;
};

}  // namespace replica_router
