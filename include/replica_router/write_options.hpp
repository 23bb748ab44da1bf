// What may one write ask for? Its isolation, how often it may be tried, and how sure it must be.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>

#include "replica_router/errors.hpp"

namespace replica_router {

/// A transaction's isolation level.
enum class Isolation : std::uint8_t {
  server_default,  ///< whatever `default_transaction_isolation` says
  read_committed,
  repeatable_read,
  serializable,
};

/// One write's demands.
struct WriteOptions {
  /// The transaction's isolation level.
  Isolation isolation = Isolation::server_default;
  /// How often `write(fn)` may run `fn` when the server gives up on the transaction for a conflict with another:
  /// 40001 (serialization_failure) or 40P01 (deadlock_detected). 1 to 1000; 1: once, the error is thrown on.
  int max_attempts = 1;
  /// Whether a connection lost during COMMIT is settled by asking the server what became of the transaction, so that
  /// `write(fn)` may try again where it was aborted. Costs a transaction id even where nothing is written.
  bool exactly_once = false;
  /// No wait or retry goes beyond this. Positive. Default: `Options::acquire_timeout`. A statement that runs is not
  /// cut.
  std::optional<std::chrono::milliseconds> deadline{};
};

/// Throws: `ConfigError` when a member is out of its range.
template <std::same_as<WriteOptions> Given>
void validate(Given const& options) {
  if (options.max_attempts < 1 || options.max_attempts > 1000) {
    throw ConfigError{"WriteOptions::max_attempts = " + std::to_string(options.max_attempts) +
                      ": allowed is 1 to 1000"};
  }
  if (options.deadline && (options.deadline->count() < 1 || *options.deadline > std::chrono::hours{24 * 365})) {
    throw ConfigError{"WriteOptions::deadline = " + std::to_string(options.deadline->count()) +
                      "ms: allowed is 1ms to 8760h"};
  }
}

}  // namespace replica_router
