// Is this node alive, and when is it asked again? The state machine of one node's health.
#pragma once

#include <algorithm>
#include <cstdint>

#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// The limits by which health is judged.
struct HealthLimits {
  int down_after = 3;                                 ///< missed probes in a row until a node is down
  Duration backoff = std::chrono::milliseconds{500};  ///< the first pause before a node that is down is probed again
  Duration max_backoff = std::chrono::seconds{30};    ///< the longest pause
};

/// Why a probe brought no answer.
enum class ProbeFailure : std::uint8_t {
  refused,               ///< the connection could not be made: nothing listens, no such host, no route
  lost,                  ///< the connection broke: no proof against the node, a reason to ask at once
  rejected,              ///< the server answers but lets us not in: password, database, starting up or shutting down
  too_many_connections,  ///< the server is alive but full; says nothing against it
  late,                  ///< no answer within the time allowed
};

/// One node's health: up while probes answer; down after a refusal or too many missed probes; then a growing pause
/// with jitter until the next probe, which is the canary: traffic returns only after it has answered.
class NodeHealth {
 public:
  NodeHealth() = default;
  explicit NodeHealth(HealthLimits limits) : limits_{limits} {}

  /// Whether the node answers.
  Health state() const { return state_; }
  /// When the node came back from being down; `never` when it never was down.
  TimePoint returned_at() const { return returned_at_; }
  /// How many probes in a row have been missed.
  int missed() const { return missed_; }
  /// When a node that is down may be probed again.
  TimePoint retry_at() const { return retry_at_; }

  /// A probe was answered.
  void answered(TimePoint now) {
    missed_ = 0;
    if (state_ == Health::down && ever_up_) {
      returned_at_ = now;
    }
    if (state_ != Health::up) {
      up_since_ = now;
    }
    state_ = Health::up;
    ever_up_ = true;
  }

  /// A probe failed. `entropy` is uniformly random and spreads the next try, so that a fleet does not knock in step.
  void failed(ProbeFailure failure, TimePoint now, std::uint64_t entropy) {
    switch (failure) {
      case ProbeFailure::lost: return;
      case ProbeFailure::too_many_connections: retry_at_ = now + jittered(limits_.backoff, entropy); return;
      case ProbeFailure::late:
        if (++missed_ < limits_.down_after && state_ != Health::down) {
          return;
        }
        break;
      case ProbeFailure::refused:
      case ProbeFailure::rejected: break;
    }
    go_down(now, entropy);
  }

 private:
  void go_down(TimePoint now, std::uint64_t entropy) {
    // A node that stood for long after its last return has earned a fresh start; one that flaps has not.
    bool const was_stable = state_ == Health::up && now - up_since_ > 10 * pause_;
    if (pause_ == Duration::zero() || was_stable) {
      pause_ = limits_.backoff;
    } else {
      pause_ = std::min(limits_.max_backoff, 2 * pause_);
    }
    state_ = Health::down;
    missed_ = 0;
    retry_at_ = now + jittered(pause_, entropy);
  }

  /// Between half of the pause and the whole of it.
  static Duration jittered(Duration pause, std::uint64_t entropy) {
    auto const half = pause / 2;
    auto const steps = static_cast<std::int64_t>(entropy % 1024);
    return half + half * steps / 1024;
  }

  HealthLimits limits_{};
  Health state_ = Health::unknown;
  bool ever_up_ = false;
  int missed_ = 0;
  Duration pause_{};
  TimePoint up_since_ = never;
  TimePoint returned_at_ = never;
  TimePoint retry_at_ = never;
};

/// The share of traffic, out of 1024, that a replica takes while it warms up after its return.
constexpr std::uint64_t admitted_share(TimePoint returned_at, Duration warm_up, TimePoint now) {
  if (returned_at == never || warm_up <= Duration::zero() || now - returned_at >= warm_up) {
    return 1024;
  }
  auto const elapsed = std::max(now - returned_at, Duration::zero());
  constexpr double least = 64;
  auto const part = static_cast<double>(elapsed.count()) / static_cast<double>(warm_up.count());
  return static_cast<std::uint64_t>(least + (1024 - least) * part);
}

}  // namespace replica_router
