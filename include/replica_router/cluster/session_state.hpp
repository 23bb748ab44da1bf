// What is a session? Its causal scope, and what its reads ask for where they do not say.
#pragma once

#include "replica_router/cluster/causal_scope.hpp"
#include "replica_router/cluster/read_terms.hpp"

namespace replica_router {

/// What belongs to one session alone. Thread safety: all calls.
struct SessionState {
  explicit SessionState(ReadTerms const& reads_ask_for) : terms{reads_ask_for} {}

  CausalScope scope;
  ReadTerms const terms;
};

}  // namespace replica_router
