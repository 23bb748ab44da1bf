// What is a session? Its causal scope, and what its reads ask for where they do not say.
#pragma once

#include "replica_router/cluster/causal_scope.hpp"
#include "replica_router/read_options.hpp"

namespace replica_router {

/// What belongs to one session alone. Thread safety: all calls.
struct SessionState {
  explicit SessionState(ReadOptions const& reads_ask_for = {}) : defaults{reads_ask_for} {}

  CausalScope scope;
  ReadOptions const defaults;
};

}  // namespace replica_router
