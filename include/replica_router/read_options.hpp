// What may one read ask for? Its contract, where it differs from the router's default.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "replica_router/causality/token.hpp"
#include "replica_router/errors.hpp"

namespace replica_router {

/// What happens to a read whose contract no replica meets, after verifying and waiting as far as allowed.
enum class OnUnmet : std::uint8_t {
  primary,      ///< the primary serves it
  fail,         ///< `FreshnessUnmet` is thrown
  serve_stale,  ///< a live replica of the policy's choice serves it all the same; the primary where there is none
};

/// Whether a session's reads may go back in time.
enum class MonotonicReads : std::uint8_t {
  off,  ///< a read may be older than the one before it
  on,   ///< no read is older than what the session has already read
};

/// One read's demands. A member that is not given takes the session's default (`ReplicaRouter::session`), else the
/// router's (`Options`).
struct ReadOptions {
  /// The data is proven at most this old. Positive.
  std::optional<std::chrono::milliseconds> max_staleness{};
  /// The data contains everything up to this position.
  std::optional<Token> at_least{};
  /// How long to wait for a replica that meets the contract. Zero: not at all.
  std::optional<std::chrono::milliseconds> wait_up_to{};
  /// What to do when no replica meets the contract.
  std::optional<OnUnmet> on_unmet{};
  /// Whether this read may be older than the session's earlier ones.
  std::optional<MonotonicReads> monotonic{};
  /// One READ ONLY REPEATABLE READ transaction: every statement sees the same state. Default: no.
  std::optional<bool> snapshot{};
  /// No wait or retry goes beyond this. Positive. Default: `Options::acquire_timeout`. A statement that runs is not
  /// cut.
  std::optional<std::chrono::milliseconds> deadline{};
};

/// No wait, timeout or limit is longer: a year, far inside what a nanosecond clock can count.
inline constexpr std::chrono::milliseconds longest_wait = std::chrono::hours{24 * 365};

/// Throws: `ConfigError` when a member is out of its range.
template <std::same_as<ReadOptions> Given>
void validate(Given const& options) {
  using std::chrono::milliseconds;
  auto const check = [](char const* name, auto const& given, milliseconds least) {
    if (given && (*given < least || *given > longest_wait)) {
      throw ConfigError{std::string{"ReadOptions::"} + name + " = " + std::to_string(given->count()) +
                        "ms: allowed is " + std::to_string(least.count()) + "ms to 8760h"};
    }
  };
  check("max_staleness", options.max_staleness, milliseconds{1});
  check("wait_up_to", options.wait_up_to, milliseconds{0});
  check("deadline", options.deadline, milliseconds{1});
}

}  // namespace replica_router
