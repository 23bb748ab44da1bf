// Who is the primary? The judgement over what all nodes say of themselves.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/probe_answer.hpp"

namespace replica_router {

/// What the configuration says of a node: a hint, never proof.
enum class RoleHint : std::uint8_t { primary, replica };

/// What one node says of itself, as far as it is known.
struct RoleEvidence {
  bool is_known = false;                ///< it has answered since it was last down
  bool is_in_recovery = false;          ///< it is a standby
  std::uint32_t timeline = 0;           ///< zero when unknown
  bool is_timeline_certain = true;      ///< false where a replica may follow a later one by now
  std::uint64_t system_identifier = 0;  ///< zero when unknown
  std::uint32_t silent_on = 0;  ///< the timeline it took writes on when it fell silent, and may still; else zero
  RoleHint hint = RoleHint::replica;

  friend constexpr bool operator==(RoleEvidence const&, RoleEvidence const&) = default;
};

/// What a node of which the configuration says `hint` tells by its answer.
constexpr RoleEvidence evidence_of(ProbeAnswer const& answer, RoleHint hint) {
  RoleEvidence out;
  out.is_known = true;
  out.is_in_recovery = answer.is_in_recovery;
  out.timeline = answer.timeline;
  out.is_timeline_certain = answer.is_timeline_certain;
  out.system_identifier = answer.system_identifier;
  out.hint = hint;
  return out;
}

/// The outcome of the judgement.
struct RoleJudgement {
  std::vector<Role> roles;              ///< one for each node, in order
  std::optional<std::size_t> primary;   ///< the one node that takes writes
  std::uint64_t system_identifier = 0;  ///< the cluster's; zero when unknown
  std::uint32_t highest_timeline = 0;   ///< the highest that a node of this cluster has ever shown
  bool is_split = false;                ///< two writable nodes that cannot be told apart: writes are refused
};

/// How many nodes say that they are of that cluster.
template <class Evidence>
std::size_t support_of(std::span<Evidence const> nodes, std::uint64_t identity) {
  std::size_t out = 0;
  for (auto const& node : nodes) {
    out += node.is_known && node.system_identifier == identity ? 1U : 0U;
  }
  return out;
}

/// The system identifier of the cluster: that of the configured primary, else the most frequent one, else the first.
template <class Evidence>
std::uint64_t cluster_identity(std::span<Evidence const> nodes, std::uint64_t known_before) {
  if (known_before != 0) {
    return known_before;
  }
  std::uint64_t best = 0;
  std::size_t most = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    auto const& node = nodes[i];
    if (!node.is_known || node.system_identifier == 0) {
      continue;
    }
    if (node.hint == RoleHint::primary) {
      return node.system_identifier;
    }
    if (auto const support = support_of(nodes.first(i + 1), node.system_identifier); support > most) {
      best = node.system_identifier;
      most = support;
    }
  }
  return best;
}

/// Judges the roles of all nodes. `pinned_identity` is the cluster's system identifier once the configured primary has
/// told it (zero before), `highest_timeline` the highest seen so far: a writable node below it is an old primary that
/// came back, and stays fenced even while the newer one is away.
template <class Evidence = RoleEvidence>
RoleJudgement judge_roles(std::span<std::type_identity_t<Evidence> const> nodes, std::uint64_t pinned_identity,
                          std::uint32_t highest_timeline) {
  RoleJudgement out;
  out.roles.assign(nodes.size(), Role::unknown);
  out.system_identifier = cluster_identity<Evidence>(nodes, pinned_identity);
  out.highest_timeline = highest_timeline;
  auto const is_foreign = [&](Evidence const& node) {
    return node.system_identifier != 0 && out.system_identifier != 0 && node.system_identifier != out.system_identifier;
  };
  for (auto const& node : nodes) {
    // A standby that certainly follows a later timeline proves that timeline's primary, wherever that is.
    bool const is_proof = !node.is_in_recovery || node.is_timeline_certain;
    if (node.is_known && is_proof && !is_foreign(node)) {
      out.highest_timeline = std::max(out.highest_timeline, node.timeline);
    }
  }
  std::size_t contenders = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    auto const& node = nodes[i];
    if (!node.is_known) {
      // Silence is no proof of death: until nothing listens there any more, no other node of its timeline is believed.
      contenders += node.silent_on != 0 && node.silent_on == out.highest_timeline && !is_foreign(node) ? 1U : 0U;
      continue;
    }
    if (is_foreign(node)) {
      out.roles[i] = Role::foreign;
    } else if (node.is_in_recovery) {
      out.roles[i] = Role::replica;
    } else {
      out.roles[i] = Role::fenced;
      // Where no timeline is known at all, any writable node contends, and two contenders refuse each other.
      if (node.timeline == out.highest_timeline) {
        ++contenders;
        out.primary = i;
      }
    }
  }
  if (contenders > 1) {
    out.primary.reset();
    out.is_split = true;
  }
  if (out.primary) {
    out.roles[*out.primary] = Role::primary;
  }
  return out;
}

}  // namespace replica_router
