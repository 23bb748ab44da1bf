// What is known of one node at this moment? The plain value that every routing decision reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// A node's number: its place in the router's list. Reused after the node was removed.
using NodeId = std::size_t;

/// No node.
inline constexpr NodeId no_node = static_cast<NodeId>(-1);

/// Whether a node answers.
enum class Health : std::uint8_t {
  unknown,  ///< not yet heard of
  up,       ///< its latest probe answered
  down,     ///< refused, lost, rejecting or silent for too long; probed again after a growing pause
};

/// What a node is by its own word, checked against all others. The configuration is only a hint.
enum class Role : std::uint8_t {
  unknown,  ///< not yet heard of
  primary,  ///< the one node that takes writes
  replica,  ///< in recovery, of this cluster
  fenced,   ///< writable, but not the primary: an older timeline, or one of two that cannot be told apart
  foreign,  ///< of another cluster
};

/// The word for it.
constexpr std::string_view text_of(Health health) {
  switch (health) {
    case Health::up: return "up";
    case Health::down: return "down";
    case Health::unknown: break;
  }
  return "unknown";
}

/// The word for it.
constexpr std::string_view text_of(Role role) {
  switch (role) {
    case Role::primary: return "primary";
    case Role::replica: return "replica";
    case Role::fenced: return "fenced";
    case Role::foreign: return "foreign";
    case Role::unknown: break;
  }
  return "unknown";
}

/// Whether a replica is known to follow the primary's present timeline.
enum class Lineage : std::uint8_t {
  unknown,  ///< nothing says so: its positions prove nothing
  same,     ///< its log is the primary's log
  other,    ///< it follows another timeline
};

/// The lineage of a node on `timeline`, which it may have left by now unless that `is_certain`; zero is unknown.
constexpr Lineage lineage_of(std::uint32_t timeline, bool is_certain, std::uint32_t primary_timeline) {
  if (primary_timeline == 0 || timeline == 0) {
    return Lineage::unknown;
  }
  if (timeline == primary_timeline) {
    return Lineage::same;
  }
  return is_certain ? Lineage::other : Lineage::unknown;
}

/// What is known of one node. Trivially copyable, so that it can be published without a lock.
struct NodeFacts {
  TimePoint as_of = never;         ///< it has everything the primary had at this moment; `never` when nothing is proven
  TimePoint probed_at = never;     ///< when the question behind the latest answer was sent
  TimePoint returned_at = never;   ///< when it came back from being down; `never` when it never was
  Duration lag = Duration::max();  ///< behind the latest known primary position; `Duration::max()` when unknown
  Duration latency{};              ///< moving average of the probe's round trip; zero when unknown
  double replay_rate = 0;          ///< bytes a second that it replays while behind; zero when unknown
  Lsn position;                    ///< replay position of a replica, insert position of a primary; zero when unknown
  std::uint32_t timeline = 0;      ///< the timeline the node is on; zero when unknown
  std::uint32_t epoch = 0;  ///< grows at each change of role or timeline; connections of an older epoch are closed
  std::uint32_t primary_timeline = 0;  ///< the timeline of the primary's positions; zero while none is known
  Health health = Health::unknown;
  Role role = Role::unknown;
  Lineage lineage = Lineage::unknown;
  bool is_measured = false;  ///< a position of the primary is known to measure `lag` against
};
static_assert(std::is_trivially_copyable_v<NodeFacts>);

}  // namespace replica_router
