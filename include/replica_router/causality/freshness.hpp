// How fresh must a read's data be? The floors that a replica has to be proven to have reached.
#pragma once

#include <algorithm>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// Where a read may run.
enum class Placement {
  anywhere,      ///< on any replica that meets the contract
  primary_only,  ///< only on the primary
};

/// A session's place in the write-ahead log: a commit it must see.
///
/// A replica has it when it has replayed `lsn` on timeline `timeline`, or everything the primary had at `at`, a moment
/// after the commit. The second needs no position and outlives a failover; the first is sooner proven.
struct CausalPosition {
  Lsn lsn;                     ///< the primary's insert position after the commit; zero when it was not captured
  std::uint32_t timeline = 0;  ///< the timeline that `lsn` belongs to; zero when unknown
  TimePoint at = never;        ///< a moment after the commit; `never` when there was no commit

  friend constexpr bool operator==(CausalPosition const&, CausalPosition const&) = default;
};

/// The later of two positions: whoever has it has both.
constexpr CausalPosition later_of(CausalPosition const& a, CausalPosition const& b) {
  CausalPosition const& late = a.at >= b.at ? a : b;
  CausalPosition const& early = a.at >= b.at ? b : a;
  if (early.at == never) {
    return late;
  }
  // The LSN floor has to cover both; where one has no comparable LSN only the moment is left.
  if (late.lsn && early.lsn && late.timeline == early.timeline) {
    return {std::max(late.lsn, early.lsn), late.timeline, late.at};
  }
  return {Lsn{}, 0, late.at};
}

/// What a read demands of the data it gets. Every member is a floor, so demands join by taking the stricter of each.
struct Freshness {
  CausalPosition position{};                  ///< a commit that must be visible
  TimePoint as_of = never;                    ///< everything the primary had at this moment must be visible
  Placement placement = Placement::anywhere;  ///< whether a replica may serve at all

  /// Nothing demanded: any live replica will do.
  constexpr bool demands_nothing() const {
    return position.at == never && as_of == never && placement == Placement::anywhere;
  }

  friend constexpr bool operator==(Freshness const&, Freshness const&) = default;
};

/// Both demands at once.
constexpr Freshness joined(Freshness const& a, Freshness const& b) {
  return {later_of(a.position, b.position), std::max(a.as_of, b.as_of), std::max(a.placement, b.placement)};
}

}  // namespace replica_router
