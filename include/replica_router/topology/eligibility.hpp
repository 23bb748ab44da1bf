// May this node serve this read? The judgement on one replica, and the reason when it is "no".
#pragma once

#include <cstdint>
#include <string_view>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// Whether a replica may serve a read, or the first reason why not.
enum class Verdict : std::uint8_t {
  eligible,              ///< up, in recovery, of this cluster, within `max_lag`, and proven to meet the contract
  unheard_of,            ///< has not answered any probe yet
  down,                  ///< does not answer
  not_a_replica,         ///< it is the primary
  fenced,                ///< writable but not the primary
  foreign,               ///< of another cluster
  behind_max_lag,        ///< further behind the latest known primary position than `max_lag`
  position_not_reached,  ///< not proven to have replayed the commit that the read must see
  too_stale,             ///< not proven as fresh as the read demands
  placement,             ///< the read demands the primary
  failed_this_read,      ///< has just failed this very read
};

/// The reason in words, to be put behind a node's name.
constexpr std::string_view text_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::eligible: return "eligible";
    case Verdict::unheard_of: return "not heard of yet";
    case Verdict::down: return "down";
    case Verdict::not_a_replica: return "the primary";
    case Verdict::fenced: return "fenced: writable, but not the primary";
    case Verdict::foreign: return "quarantined: of another cluster";
    case Verdict::behind_max_lag: return "behind max_lag";
    case Verdict::position_not_reached: return "not proven to have the session's last write";
    case Verdict::too_stale: return "not proven fresh enough";
    case Verdict::placement: return "the read demands the primary";
    case Verdict::failed_this_read: return "has just failed this read";
  }
  return "unknown";
}

/// Whether a replica that is alive and within `max_lag` merely lacks proof, so that asking it again can help.
constexpr bool lacks_only_proof(Verdict verdict) {
  return verdict == Verdict::position_not_reached || verdict == Verdict::too_stale;
}

/// What routing looks at of one node: no more than one cache line holds, and as much of the verdict as is the same for
/// every read.
struct Standing {
  TimePoint as_of = never;  ///< as in `NodeFacts`, and so the others of these names
  TimePoint returned_at = never;
  Duration lag = Duration::max();
  Duration latency{};
  Lsn position;
  std::uint32_t epoch = 0;
  std::uint32_t primary_timeline = 0;
  std::uint32_t timeline = 0;
  Role role = Role::unknown;
  Lineage lineage = Lineage::unknown;
  Verdict verdict = Verdict::unheard_of;  ///< on a read that demands nothing
};

/// The node's standing by what is known of it.
constexpr Standing standing_of(NodeFacts const& facts, Duration max_lag) {
  auto const verdict = [&] {
    switch (facts.health) {
      case Health::unknown: return Verdict::unheard_of;
      case Health::down: return Verdict::down;
      case Health::up: break;
    }
    switch (facts.role) {
      case Role::unknown: return Verdict::unheard_of;
      case Role::primary: return Verdict::not_a_replica;
      case Role::fenced: return Verdict::fenced;
      case Role::foreign: return Verdict::foreign;
      case Role::replica: break;
    }
    // Where no position of a primary was ever known there is none to be behind: reads outlive the primary, also at
    // start.
    return facts.is_measured && facts.lag > max_lag ? Verdict::behind_max_lag : Verdict::eligible;
  };
  return {facts.as_of, facts.returned_at,      facts.lag,      facts.latency, facts.position,
          facts.epoch, facts.primary_timeline, facts.timeline, facts.role,    facts.lineage,
          verdict()};
}

/// Whether the replica is proven to have what the contract demands. Unknown is never fresh. `known` is its facts or its
/// standing.
template <class Known>
constexpr bool has_position(Known const& known, CausalPosition const& wanted) {
  if (wanted.at == never) {
    return true;
  }
  if (known.lineage != Lineage::same) {
    return false;
  }
  bool const replayed_it =
      wanted.lsn && wanted.timeline == known.primary_timeline && known.position >= wanted.lsn.before_page_header();
  return replayed_it || known.as_of >= wanted.at;
}

/// Judges one node for one read.
constexpr Verdict judge(Standing const& standing, Freshness const& demand) {
  bool const is_withheld = demand.placement == Placement::primary_only;
  if (standing.verdict != Verdict::eligible) {
    return standing.verdict == Verdict::behind_max_lag && is_withheld ? Verdict::placement : standing.verdict;
  }
  if (is_withheld) {
    return Verdict::placement;
  }
  if (!has_position(standing, demand.position)) {
    return Verdict::position_not_reached;
  }
  if (demand.as_of != never && (standing.lineage != Lineage::same || standing.as_of < demand.as_of)) {
    return Verdict::too_stale;
  }
  return Verdict::eligible;
}

/// The same, by all that is known of the node.
constexpr Verdict judge(NodeFacts const& facts, Freshness const& demand, Duration max_lag) {
  return judge(standing_of(facts, max_lag), demand);
}

}  // namespace replica_router
