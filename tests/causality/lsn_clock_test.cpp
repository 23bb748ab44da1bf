#include "replica_router/causality/lsn_clock.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <sstream>
#include <string>

namespace rr = replica_router;
using rr::Duration;
using rr::Lsn;
using rr::LsnClock;
using rr::TimePoint;
using namespace std::chrono_literals;

namespace {

TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

// Two million histories take seconds in an optimised build; the sanitizers' and the unoptimised take a twentieth of
// them.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define IS_SANITIZED
#endif
#endif
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(IS_SANITIZED)
constexpr std::uint64_t histories = 2'000'000;
#else
constexpr std::uint64_t histories = 100'000;
#endif

/// Random numbers that are the same everywhere. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014 (SplitMix64).
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_{seed} {}
  std::uint64_t below(std::uint64_t sides) {
    state_ += 0x9E3779B97F4A7C15U;
    auto z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (z ^ (z >> 31)) % sides;
  }

 private:
  std::uint64_t state_;
};

/// What the clock is to know, told the slow way: every sample is kept and every question looks at all of them.
class Model {
 public:
  void sample(std::int64_t time, std::uint64_t position) {
    if (position == 0 || (size_ > 0 && time <= seen_[size_ - 1].time)) {
      return;
    }
    auto const offset = position % 8192;
    auto const lsn = offset == 24 || offset == 40 ? position - offset : position;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      if (seen_[i].lsn <= lsn) {
        seen_[kept++] = seen_[i];
      }
    }
    bool const is_after_loss = kept < size_;
    size_ = kept;
    seen_.at(size_++) = {time, lsn, is_after_loss};
  }

  void reset() { size_ = 0; }

  TimePoint as_of(std::uint64_t replay) const {
    Seen const* last = nullptr;
    for (std::size_t i = 0; i < size_; ++i) {
      if (seen_[i].lsn <= replay) {
        last = &seen_[i];
      }
    }
    return last == nullptr ? rr::never : TimePoint{Duration{last->time}};
  }

  Duration lag(std::uint64_t replay) const {
    Seen const* before = nullptr;
    Seen const* after = nullptr;
    for (std::size_t i = 0; i < size_; ++i) {
      if (seen_[i].lsn <= replay) {
        before = &seen_[i];
      } else if (after == nullptr) {
        after = &seen_[i];
      }
    }
    if (before == nullptr) {
      return Duration::max();
    }
    if (after == nullptr) {
      return Duration::zero();
    }
    // Numbers in these histories are small, so whole numbers tell exactly where the primary was.
    auto const passed =
        static_cast<std::uint64_t>(after->time - before->time) * (replay - before->lsn) / (after->lsn - before->lsn);
    auto const since_before = seen_[size_ - 1].time - before->time;
    return Duration{after->is_after_loss ? since_before : since_before - static_cast<std::int64_t>(passed)};
  }

  rr::Sample latest() const {
    return size_ == 0 ? rr::Sample{}
                      : rr::Sample{TimePoint{Duration{seen_[size_ - 1].time}}, Lsn{seen_[size_ - 1].lsn}};
  }

 private:
  struct Seen {
    std::int64_t time = 0;
    std::uint64_t lsn = 0;
    bool is_after_loss = false;
  };
  std::array<Seen, 24> seen_{};
  std::size_t size_ = 0;
};

/// One random history told to both, and the questions in between. Returns what differs, empty when nothing does.
class History {
 public:
  History(std::uint64_t seed, std::size_t capacity) : dice_{seed}, clock_{capacity}, capacity_{capacity} {}

  std::string run() {
    auto const steps = 4 + dice_.below(16);
    for (std::uint64_t step = 0; step < steps; ++step) {
      act();
      if (auto difference = ask(); !difference.empty()) {
        return difference;
      }
    }
    return ask();
  }

  bool is_thinned() const { return is_thinned_; }

 private:
  void act() {
    auto const what = dice_.below(100);
    if (what == 0) {
      clock_.reset();
      model_.reset();
      positions_ = 0;
      is_thinned_ = false;
      return;
    }
    // Sometimes no time passes, or a late answer comes in after a later one.
    now_ += static_cast<std::int64_t>(dice_.below(1000)) - (dice_.below(8) == 0 ? 500 : 0);
    if (what < 10) {
      position_ -= std::min(position_ - 1, dice_.below(20'000));  // a crash that lost unflushed log
    } else if (what < 40) {
      position_ += dice_.below(100);
    } else if (what < 60) {
      position_ += dice_.below(20'000);
    } else if (what < 75) {
      position_ = (position_ / 8192 + 1) * 8192 + (dice_.below(2) == 0 ? 24 : 40);
    } else if (what < 78) {
      position_ = (position_ / 8192 + 1) * 8192;
    } else if (what == 78) {
      clock_.sample(TimePoint{Duration{now_ + 1}}, Lsn{});
      model_.sample(now_ + 1, 0);
      return;
    }  // else the primary is idle
    clock_.sample(TimePoint{Duration{now_}}, Lsn{position_});
    model_.sample(now_, position_);
    ++positions_;
    is_thinned_ = is_thinned_ || positions_ > capacity_;
  }

  /// A position near the primary's, often one that it was at.
  Lsn some_replay() {
    auto const back = dice_.below(4) == 0 ? 0 : dice_.below(60'000);
    auto const replay = position_ > back ? position_ - back : 0;
    switch (dice_.below(3)) {
      case 0: return Lsn{replay};
      case 1: return Lsn{replay / 8192 * 8192};
      default: return Lsn{position_ + dice_.below(200)};
    }
  }

  std::string ask() {
    auto const replay = some_replay();
    auto const as_of = clock_.as_of(replay);
    auto const lag = clock_.lag(replay);
    auto const true_as_of = model_.as_of(replay.bytes());
    auto const true_lag = model_.lag(replay.bytes());
    bool is_right = clock_.latest() == model_.latest();
    if (is_thinned_) {
      is_right = is_right && as_of <= true_as_of && lag >= true_lag;
      // Detail may be lost, but never what the very ends of the record say.
      is_right = is_right && (lag == Duration::zero()) == (true_lag == Duration::zero()) &&
                 (as_of == rr::never) == (true_as_of == rr::never);
    } else {
      is_right = is_right && as_of == true_as_of && lag == true_lag;
    }
    if (is_right) {
      return {};
    }
    std::ostringstream out;
    out << (is_thinned_ ? "thinned" : "exact") << ", replay " << replay.bytes() << ": as_of "
        << as_of.time_since_epoch().count() << " for " << true_as_of.time_since_epoch().count() << ", lag "
        << lag.count() << " for " << true_lag.count();
    return out.str();
  }

  Dice dice_;
  LsnClock<> clock_;
  Model model_;
  std::size_t capacity_;
  std::int64_t now_ = 1'000'000;
  std::uint64_t position_ = 100'000;
  std::size_t positions_ = 0;
  bool is_thinned_ = false;
};

}  // namespace

TEST_CASE("random histories agree with a model that keeps every sample") {
  std::uint64_t thinned = 0;
  for (std::uint64_t seed = 0; seed < histories; ++seed) {
    History history{seed, seed % 2 == 0 ? 40U : 4 + seed / 2 % 9};
    if (auto const difference = history.run(); !difference.empty()) {
      FAIL("history " << seed << ": " << difference);
    }
    thinned += history.is_thinned() ? 1 : 0;
  }
  CHECK(thinned > histories / 8);
}

TEST_CASE("a clock without samples knows nothing") {
  LsnClock<> const clock;
  CHECK(clock.as_of(Lsn{100}) == rr::never);
  CHECK(clock.lag(Lsn{100}) == Duration::max());
  CHECK(clock.latest() == rr::Sample{});
}

TEST_CASE("a caught-up replica of an idle primary has no lag and a bound as young as the latest sample") {
  LsnClock<> clock;
  for (int second = 0; second < 3600; ++second) {
    clock.sample(at(std::chrono::seconds{second}), Lsn{8192 * 7 + 24});
  }
  CHECK(clock.as_of(Lsn{8192 * 7}) == at(3599s));
  CHECK(clock.lag(Lsn{8192 * 7}) == Duration::zero());
}

TEST_CASE("a replica that lacks the last record before a quiet hour lags by that hour") {
  LsnClock<> clock;
  clock.sample(at(0s), Lsn{1'000'000});
  clock.sample(at(1s), Lsn{2'000'000});
  clock.sample(at(3600s), Lsn{2'000'000});
  CHECK(clock.lag(Lsn{1'999'999}) >= 3599s);
  CHECK(clock.as_of(Lsn{1'999'999}) == at(0s));
}

TEST_CASE("lag is measured from the moment the primary passed the position") {
  LsnClock<> clock;
  clock.sample(at(0s), Lsn{1000});
  clock.sample(at(10s), Lsn{2000});
  clock.sample(at(20s), Lsn{2000});
  clock.sample(at(30s), Lsn{3000});
  CHECK(clock.lag(Lsn{999}) == Duration::max());
  CHECK(clock.lag(Lsn{1000}) == 30s);
  CHECK(clock.lag(Lsn{1500}) == 25s);
  CHECK(clock.lag(Lsn{2000}) == 10s);
  CHECK(clock.lag(Lsn{2500}) == 5s);
  CHECK(clock.lag(Lsn{3000}) == 0s);
  CHECK(clock.lag(Lsn{9000}) == 0s);
}

TEST_CASE("after a day a full clock errs by a sixteenth of the truth at most, and only towards older") {
  constexpr std::int64_t samples = 24 * 3600 * 4;
  // Never just past a page header.
  auto const position = [](std::int64_t i) { return Lsn{static_cast<std::uint64_t>(i) * 1024 + 512}; };
  LsnClock<> clock;
  for (std::int64_t i = 0; i < samples; ++i) {
    clock.sample(at(i * 250ms), position(i));
  }
  auto const now = at((samples - 1) * 250ms);
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < samples - 1; ++i) {
    auto const truth = now - at(i * 250ms);
    for (auto const answer : {Duration{now - clock.as_of(position(i))}, clock.lag(position(i))}) {
      wrong += answer < truth || answer > truth + truth / 16 ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
  CHECK(clock.as_of(position(0)) == at(0ms));
  CHECK(clock.as_of(position(samples - 1)) == now);
}

TEST_CASE("the least capacity works") {
  LsnClock<> clock{0};
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    clock.sample(at(std::chrono::seconds{i}), Lsn{i * 64});
    REQUIRE(clock.latest() == rr::Sample{at(std::chrono::seconds{i}), Lsn{i * 64}});
    REQUIRE(clock.as_of(Lsn{64}) == at(1s));
  }
}
