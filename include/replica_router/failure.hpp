// Whose fault is it? What a failure says of the statement, the connection or the node.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

namespace replica_router {

/// What went wrong with a statement, as far as routing cares.
enum class Failure : std::uint8_t {
  statement,             ///< the user's own: syntax, constraint, timeout, cancellation; says nothing of the node
  connection_lost,       ///< the connection is gone; whether the node is, a probe finds out
  unavailable,           ///< the node answers that it takes no connections now
  rejected,              ///< the node lets this user or database not in
  too_many_connections,  ///< the node is alive and full
  read_only,             ///< a write where none is allowed; in `write()` it means that the node is not the primary
  serialization,         ///< lost against a concurrent transaction; on a standby, against recovery
  deadlock,              ///< chosen as a deadlock's victim; on a standby, against recovery
};

/// In a `catch` block: what the error says.
inline std::string text_in_flight() {
  try {
    throw;
  } catch (std::exception const& error) {
    return error.what();
  } catch (...) {
    return "an error that is no std::exception";
  }
}

}  // namespace replica_router
