#include "replica_router/topology/node_health.hpp"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>

namespace rr = replica_router;
using rr::Duration;
using rr::Health;
using rr::HealthLimits;
using rr::NodeHealth;
using rr::ProbeFailure;
using rr::TimePoint;
using namespace std::chrono_literals;

namespace {

constexpr HealthLimits limits{3, 500ms, 30s};
// The entropy that leads to the shortest and to the longest pause.
constexpr std::uint64_t shortest = 1024;
constexpr std::uint64_t longest = 1023;

TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

/// Takes the node down at `moment` and returns the pause until its next probe.
Duration pause_after_refusal(NodeHealth& health, TimePoint moment, std::uint64_t entropy = longest) {
  health.failed(ProbeFailure::refused, moment, entropy);
  return health.retry_at() - moment;
}

/// Nearly the whole of a pause: the jitter has 1024 steps.
bool is_about(Duration pause, Duration whole) { return pause <= whole && pause >= whole - whole / 1024; }

/// The rules told once more: health as a count of missed probes and a power of two.
class Model {
 public:
  void answered(TimePoint now) {
    if (health == Health::down && was_ever_up_) {
      returned_at = now;
    }
    if (health != Health::up) {
      up_since_ = now;
    }
    health = Health::up;
    was_ever_up_ = true;
    missed = 0;
  }

  void failed(ProbeFailure failure, TimePoint now) {
    if (failure == ProbeFailure::lost || failure == ProbeFailure::too_many_connections) {
      return;
    }
    if (failure == ProbeFailure::late && health != Health::down && missed + 1 < limits.down_after) {
      ++missed;
      return;
    }
    bool const has_earned_a_fresh_start = health == Health::up && now - up_since_ > 10 * pause();
    doublings_ = doublings_ < 0 || has_earned_a_fresh_start ? 0 : std::min(doublings_ + 1, 20);
    health = Health::down;
    missed = 0;
  }

  Duration pause() const {
    return doublings_ < 0 ? Duration::zero()
                          : std::min<Duration>(limits.max_backoff, limits.backoff * (1 << doublings_));
  }

  Health health = Health::unknown;
  int missed = 0;
  TimePoint returned_at = rr::never;

 private:
  bool was_ever_up_ = false;
  TimePoint up_since_ = rr::never;
  int doublings_ = -1;
};

}  // namespace

TEST_CASE("a node that was never heard of is unknown, and may be asked at any time") {
  NodeHealth const health{limits};
  CHECK(health.state() == Health::unknown);
  CHECK(health.returned_at() == rr::never);
  CHECK(health.retry_at() == rr::never);
  CHECK(health.missed() == 0);
}

TEST_CASE("the first answer makes a node up, which is no return") {
  NodeHealth health{limits};
  health.answered(at(1s));
  CHECK(health.state() == Health::up);
  CHECK(health.returned_at() == rr::never);
}

TEST_CASE("missed probes count until the third, an answer in between starts anew") {
  NodeHealth health{limits};
  health.answered(at(1s));
  health.failed(ProbeFailure::late, at(2s), longest);
  health.failed(ProbeFailure::late, at(3s), longest);
  CHECK(health.missed() == 2);
  CHECK(health.state() == Health::up);
  health.answered(at(4s));
  CHECK(health.missed() == 0);
  health.failed(ProbeFailure::late, at(5s), longest);
  health.failed(ProbeFailure::late, at(6s), longest);
  CHECK(health.state() == Health::up);
  health.failed(ProbeFailure::late, at(7s), longest);
  CHECK(health.state() == Health::down);
}

TEST_CASE("a node that never answered is down after as many missed probes") {
  NodeHealth health{limits};
  health.failed(ProbeFailure::late, at(1s), longest);
  health.failed(ProbeFailure::late, at(2s), longest);
  CHECK(health.state() == Health::unknown);
  health.failed(ProbeFailure::late, at(3s), longest);
  CHECK(health.state() == Health::down);
  health.answered(at(4s));
  CHECK(health.state() == Health::up);
  CHECK(health.returned_at() == rr::never);  // it has not come back, it has come
}

TEST_CASE("a refusal or a rejection takes a node down at once") {
  for (auto const failure : {ProbeFailure::refused, ProbeFailure::rejected}) {
    NodeHealth health{limits};
    health.answered(at(1s));
    health.failed(failure, at(2s), longest);
    CHECK(health.state() == Health::down);
    CHECK(health.retry_at() > at(2s));
    health.answered(at(3s));
    CHECK(health.state() == Health::up);
    CHECK(health.returned_at() == at(3s));
  }
}

TEST_CASE("a full server and a lost connection never take a node down") {
  for (auto const failure : {ProbeFailure::too_many_connections, ProbeFailure::lost}) {
    NodeHealth health{limits};
    health.answered(at(1s));
    health.failed(ProbeFailure::late, at(2s), longest);
    for (int i = 0; i < 100; ++i) {
      health.failed(failure, at(3s + i * 1s), longest);
      REQUIRE(health.state() == Health::up);
    }
    CHECK(health.missed() == 1);
  }
}

TEST_CASE("a full server is asked again after a pause, a lost connection at once") {
  NodeHealth health{limits};
  health.answered(at(1s));
  health.failed(ProbeFailure::lost, at(2s), longest);
  CHECK(health.retry_at() == rr::never);
  health.failed(ProbeFailure::too_many_connections, at(2s), shortest);
  CHECK(health.retry_at() == at(2s + 250ms));
}

TEST_CASE("while a node stays down the pause doubles to the maximum and stays there") {
  NodeHealth health{limits};
  Duration expected = 500ms;
  TimePoint now = at(1s);
  for (int i = 0; i < 20; ++i) {
    REQUIRE(is_about(pause_after_refusal(health, now), expected));
    now = health.retry_at();
    expected = std::min<Duration>(30s, 2 * expected);
  }
  CHECK(expected == 30s);
}

TEST_CASE("one missed probe is enough for a node that is down to stay so, and doubles the pause") {
  NodeHealth health{limits};
  health.failed(ProbeFailure::refused, at(1s), longest);
  health.failed(ProbeFailure::late, at(2s), longest);
  CHECK(health.state() == Health::down);
  CHECK(is_about(health.retry_at() - at(2s), 1s));
}

TEST_CASE("jitter lies between half of the pause and the whole, and reaches both ends") {
  Duration least = Duration::max();
  Duration most{};
  for (std::uint64_t entropy = 0; entropy < 4096; ++entropy) {
    NodeHealth health{limits};
    auto const pause = pause_after_refusal(health, at(1s), entropy * 0x9E3779B97F4A7C15U);
    REQUIRE(pause >= 250ms);
    REQUIRE(pause <= 500ms);
    least = std::min(least, pause);
    most = std::max(most, pause);
  }
  CHECK(least < 255ms);
  CHECK(most > 495ms);
}

TEST_CASE("a node that flaps is asked ever less often") {
  NodeHealth health{limits};
  health.answered(at(0s));
  TimePoint now = at(1s);
  Duration expected = 500ms;
  for (int i = 0; i < 6; ++i) {
    REQUIRE(is_about(pause_after_refusal(health, now), expected));
    now = health.retry_at();
    health.answered(now);
    now += 1s;  // up for a second only
    expected *= 2;
  }
}

TEST_CASE("a node that stood for long after its return starts anew") {
  NodeHealth health{limits};
  health.answered(at(0s));
  for (int i = 0; i < 4; ++i) {
    health.failed(ProbeFailure::refused, at(1s), longest);
  }
  health.answered(at(10s));  // the pause was 4 s
  auto stable = health;
  CHECK(is_about(pause_after_refusal(health, at(10s + 40s)), 8s));
  CHECK(is_about(pause_after_refusal(stable, at(10s + 41s)), 500ms));
}

TEST_CASE("random sequences agree with a plain model") {
  std::mt19937_64 random{7};
  int ejections = 0;
  int fresh_starts = 0;
  for (int sequence = 0; sequence < 2000; ++sequence) {
    NodeHealth health{limits};
    Model model;
    TimePoint now = at(1h);
    for (int step = 0; step < 60; ++step) {
      now += random() % 8 == 0 ? Duration{1s} * static_cast<std::int64_t>(random() % 400)
                               : Duration{1ms} * static_cast<std::int64_t>(random() % 3000);
      auto const before = model.health;
      auto const pause_before = model.pause();
      auto const retry_before = health.retry_at();
      if (random() % 3 == 0) {
        health.answered(now);
        model.answered(now);
        REQUIRE(health.retry_at() == retry_before);
      } else {
        auto const failure = static_cast<ProbeFailure>(random() % 5);
        health.failed(failure, now, random());
        model.failed(failure, now);
        if (failure == ProbeFailure::too_many_connections) {
          REQUIRE(health.retry_at() >= now + limits.backoff / 2);
          REQUIRE(health.retry_at() <= now + limits.backoff);
        } else if (failure == ProbeFailure::lost || model.health != Health::down) {
          REQUIRE(health.retry_at() == retry_before);
        } else {
          REQUIRE(health.retry_at() >= now + model.pause() / 2);
          REQUIRE(health.retry_at() <= now + model.pause());
          ejections += before != Health::down ? 1 : 0;
          fresh_starts += pause_before > model.pause() ? 1 : 0;
        }
      }
      REQUIRE(health.state() == model.health);
      REQUIRE(health.missed() == model.missed);
      REQUIRE(health.returned_at() == model.returned_at);
    }
  }
  // The sequences do go where it matters.
  CHECK(ejections > 1000);
  CHECK(fresh_starts > 100);
}

TEST_CASE("a replica that never was down, or has no warm-up, takes its full share") {
  CHECK(rr::admitted_share(rr::never, 5s, at(1s)) == 1024);
  CHECK(rr::admitted_share(at(1s), 0s, at(1s)) == 1024);
}

TEST_CASE("the admitted share grows from a little to the whole, and never shrinks") {
  for (Duration const warm_up : {Duration{1ms}, Duration{777us}, Duration{5s}, Duration{1h}, Duration{24h}}) {
    auto before = rr::admitted_share(at(10s), warm_up, at(10s));
    CHECK(before == 64);
    for (int i = 1; i < 1000; ++i) {
      auto const share = rr::admitted_share(at(10s), warm_up, at(10s) + warm_up * i / 1000);
      REQUIRE(share >= before);
      REQUIRE(share < 1024);
      before = share;
    }
    CHECK(before > 1000);
    CHECK(rr::admitted_share(at(10s), warm_up, at(10s) + warm_up) == 1024);
    CHECK(rr::admitted_share(at(10s), warm_up, at(10s) + 400 * warm_up) == 1024);
  }
}

TEST_CASE("a share asked for a moment before the return is the least") {
  CHECK(rr::admitted_share(at(10s), 5s, at(9s)) == 64);
}

TEST_CASE("the longest warm-up that the options allow does not overflow") {
  constexpr Duration year = 24h * 365;
  auto before = rr::admitted_share(at(10s), year, at(10s));
  for (int day = 1; day < 365; ++day) {
    auto const share = rr::admitted_share(at(10s), year, at(10s) + 24h * day);
    REQUIRE(share >= before);
    REQUIRE(share < 1024);
    before = share;
  }
}
