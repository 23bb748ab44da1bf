// Where do the views of one decision live? A list that needs no allocation for up to sixteen replicas.
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// The replicas shown to a policy for one decision.
class ViewList {
 public:
  ViewList() = default;
  ViewList(ViewList const&) = delete;
  ViewList& operator=(ViewList const&) = delete;
  ~ViewList() = default;

  /// Appends one and gives it to be filled in. Good until the next is appended.
  ReplicaView& emplace_back() {
    if (size_ < inline_capacity) {
      return *new (&inline_[size_++ * sizeof(ReplicaView)]) ReplicaView;
    }
    if (spilled_.empty()) {
      spilled_.reserve(4 * inline_capacity);
      spilled_.assign(inline_begin(), inline_begin() + size_);
    }
    ++size_;
    return spilled_.emplace_back();
  }
  /// Appends a copy.
  void push_back(ReplicaView const& view) { emplace_back() = view; }

  /// Whether there is none.
  bool empty() const { return size_ == 0; }

  /// Forgets all.
  void clear() {
    spilled_.clear();
    size_ = 0;
  }

  /// All of them.
  std::span<ReplicaView const> all() const {
    return spilled_.empty() ? std::span{inline_begin(), size_} : std::span<ReplicaView const>{spilled_};
  }

 private:
  static_assert(std::is_trivially_destructible_v<ReplicaView>);
  static constexpr std::size_t inline_capacity = 16;

  ReplicaView const* inline_begin() const { return std::launder(reinterpret_cast<ReplicaView const*>(inline_)); }

  // Left uninitialised on purpose: clearing it would cost more than the whole decision.
  alignas(ReplicaView) std::byte inline_[inline_capacity * sizeof(ReplicaView)];
  std::size_t size_ = 0;
  std::vector<ReplicaView> spilled_;
};

}  // namespace replica_router
