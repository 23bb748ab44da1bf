// Why could a connection not be made? The one error that every backend throws for it.
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

}  // namespace replica_router
