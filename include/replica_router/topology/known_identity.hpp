// Which cluster is this? What was known of its identity, weighed against what its nodes tell now.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "replica_router/topology/roles.hpp"

namespace replica_router {

/// The system identifier of the cluster, as far as it is known.
///
/// Thread safety: none.
class KnownIdentity {
 public:
  /// The system identifier; zero while it is unknown.
  std::uint64_t value() const { return value_; }

  /// Takes in what all nodes tell by now. True when the cluster is another one than was known. What is known stays,
  /// unless the expected primary, or more nodes than ever told it, say otherwise. A foreign node that alone is left
  /// says nothing.
  template <class Evidence>
  bool learn(std::span<Evidence const> nodes) {
    auto const before = value_;
    auto const told = cluster_identity(nodes, is_pinned_ ? value_ : 0);
    bool const stays = !is_pinned_ && !is_told_by_primary(nodes, told) && support_of(nodes, told) <= support_;
    if (told != 0 && (before == 0 || !stays)) {
      value_ = told;
    }
    if (value_ != before) {
      support_ = 0;
    }
    support_ = std::max(support_, support_of(nodes, value_));
    is_pinned_ = is_pinned_ || (value_ != 0 && is_told_by_primary(nodes, value_));
    return value_ != before;
  }

 private:
  template <class Evidence>
  static bool is_told_by_primary(std::span<Evidence const> nodes, std::uint64_t identity) {
    return std::any_of(nodes.begin(), nodes.end(), [&](Evidence const& node) {
      return node.is_known && node.hint == RoleHint::primary && node.system_identifier == identity;
    });
  }

  std::uint64_t value_ = 0;
  std::size_t support_ = 0;  // the most nodes that ever told it at once
  bool is_pinned_ = false;   // the expected primary has told it
};

}  // namespace replica_router
