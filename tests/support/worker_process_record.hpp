// What did the workers do, and what came of it? One operation a line, written as it ends and read when all is over.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "replica_router/errors.hpp"

namespace replica_router::testing {

/// What a worker did.
enum class OperationKind : char { read = 'R', write = 'W', token_issued = 'T', token_observed = 'O' };

/// What came of it.
enum class Outcome : char {
  done = '+',      ///< read; committed and told so; issued; accepted
  failed = '-',    ///< nothing was read; nothing was committed; the token was refused
  in_doubt = '?',  ///< the write may or may not have been committed
};

/// One operation of a worker. Times are this machine's monotonic clock, so those of several processes compare.
struct Operation {
  OperationKind kind = OperationKind::read;
  Outcome outcome = Outcome::failed;
  std::uint64_t session = 0;
  std::int64_t began = 0;  ///< nanoseconds
  std::int64_t ended = 0;  ///< nanoseconds
  /// Of a write its own number, of a token operation the token's, of a read that of the token it had to contain.
  std::uint64_t id = 0;
  int port = 0;                     ///< of the server that served a read; 0: unknown
  std::int64_t bound = -1;          ///< the lease's staleness bound, nanoseconds; -1: not told, or nothing was proven
  std::int64_t max_staleness = -1;  ///< what the read asked for, nanoseconds; -1: nothing
  bool is_monotonic = false;        ///< the read asked for monotonic reads
  bool may_be_stale = false;        ///< the read asked to be served stale rather than not by a replica
  bool is_lease = false;            ///< of the form that is not run again on another node
  bool is_exactly_once = false;     ///< the write asked for it
  int key = 0;                      ///< the first one
  std::vector<std::uint32_t> versions = {};  ///< of `key` and those after it; of a write one
  std::string message = {};                  ///< why it failed

  friend bool operator==(Operation const&, Operation const&) = default;
};

/// The operation as one line, with its end.
std::string line_of(Operation const& operation);
/// The operation that a line tells. Throws: std::runtime_error quoting the line.
Operation operation_of(std::string const& line);

/// Now, as the operations tell it.
std::int64_t nanoseconds_now();

/// A file that one thread writes its operations to. Thread safety: none.
class OperationWriter {
 public:
  explicit OperationWriter(std::filesystem::path const& file);
  /// Throws: std::runtime_error when it cannot be written.
  void write(Operation const& operation);

  /// Does it: `body(operation)` may add to what is written. What it throws is what came of it, and is returned so.
  template <class Body>
  Outcome record(Operation operation, Body&& body) {
    operation.began = nanoseconds_now();
    try {
      body(operation);
      operation.outcome = Outcome::done;
    } catch (CommitInDoubt const& error) {
      operation.outcome = Outcome::in_doubt;
      operation.message = error.what();
    } catch (std::exception const& error) {
      operation.outcome = Outcome::failed;
      operation.message = error.what();
    }
    operation.ended = nanoseconds_now();
    write(operation);
    return operation.outcome;
  }

 private:
  std::ofstream stream_;
};

/// All operations in a directory's files named "*.operations", in no order.
std::vector<Operation> operations_in(std::filesystem::path const& directory);

/// How many operations are in those files by now.
std::uint64_t operation_count(std::filesystem::path const& directory);

}  // namespace replica_router::testing
