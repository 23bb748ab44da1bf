// Why could a lease not begin? The errors that every backend throws before any statement of the user's has run.
#pragma once

#include <string>

#include "replica_router/errors.hpp"
#include "replica_router/topology/node_health.hpp"

namespace replica_router {

/// A connection to a node could not be made; the message is the server's or libpq's own reason.
class ConnectFailure : public Error {
 public:
  ConnectFailure(ProbeFailure kind, std::string const& reason) : Error{reason}, kind_{kind} {}

  /// What it says of the node.
  ProbeFailure kind() const { return kind_; }

 private:
  ProbeFailure kind_;
};

/// The node refused to begin a write, before any statement of the user's: it is not the primary, or no longer.
class WriteFenced : public Error {
 public:
  using Error::Error;
};

}  // namespace replica_router
