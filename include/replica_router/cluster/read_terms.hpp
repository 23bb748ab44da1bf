// What does a read ask for, when everything is said? The caller's words over the session's, and those over the
// router's.
#pragma once

#include <concepts>
#include <optional>

#include "replica_router/causality/token.hpp"
#include "replica_router/options.hpp"
#include "replica_router/read_options.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/transaction_modes.hpp"

namespace replica_router {

/// `ReadOptions` with nothing left open. A session works them out once, so that its reads need not.
struct ReadTerms {
  Duration max_staleness = Duration::max();  ///< `Duration::max()`: any
  Duration wait_up_to{};                     ///< as in `ReadOptions`, and so the others of these names
  Duration deadline{};                       ///< from the beginning of the read
  std::optional<Token> at_least{};           ///< nothing: any position
  OnUnmet on_unmet = OnUnmet::primary;
  MonotonicReads monotonic = MonotonicReads::off;
  ReadMode mode = ReadMode::autocommit;
};

/// What a router's reads ask for where neither they nor their session say more.
template <std::same_as<Options> Given>
ReadTerms terms_of(Given const& options) {
  ReadTerms out;
  if (options.max_staleness) {
    out.max_staleness = *options.max_staleness;
  }
  out.wait_up_to = options.wait_up_to;
  out.deadline = options.acquire_timeout;
  out.on_unmet = options.on_unmet;
  out.monotonic = options.monotonic_reads;
  return out;
}

/// The terms, with what is `given` in their place.
template <std::same_as<ReadOptions> Given>
ReadTerms amended(ReadTerms terms, Given const& given) {
  auto const amend = [](auto& term, auto const& said) {
    if (said) {
      term = *said;
    }
  };
  amend(terms.max_staleness, given.max_staleness);
  amend(terms.wait_up_to, given.wait_up_to);
  amend(terms.deadline, given.deadline);
  amend(terms.at_least, given.at_least);
  amend(terms.on_unmet, given.on_unmet);
  amend(terms.monotonic, given.monotonic);
  if (given.snapshot) {
    terms.mode = *given.snapshot ? ReadMode::snapshot : ReadMode::autocommit;
  }
  return terms;
}

}  // namespace replica_router
