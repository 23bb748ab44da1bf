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
template <class View>
class BasicViewList {
 public:
  BasicViewList() = default;
  BasicViewList(BasicViewList const&) = delete;
  BasicViewList& operator=(BasicViewList const&) = delete;
  ~BasicViewList() = default;

  /// Appends a copy, and gives it for changes until the next is appended.
  ReplicaView& push_back(ReplicaView const& view) {
    if (size_ < inline_capacity) {
      return *new (&inline_[size_++ * sizeof(ReplicaView)]) ReplicaView{view};
    }
    if (spilled_.empty()) {
      spilled_.reserve(4 * inline_capacity);
      spilled_.assign(inline_begin(), inline_begin() + size_);
    }
    ++size_;
    return spilled_.emplace_back(view);
  }

  /// Whether there is none.
  bool empty() const { return size_ == 0; }

  /// Forgets all.
  void clear() {
    spilled_.clear();
    size_ = 0;
  }

  /// All of them.
  std::span<View const> all() const {
    return spilled_.empty() ? std::span{inline_begin(), size_} : std::span<View const>{spilled_};
  }

 private:
  static_assert(std::is_trivially_destructible_v<View>);
  static constexpr std::size_t inline_capacity = 16;

  View const* inline_begin() const { return std::launder(reinterpret_cast<View const*>(inline_)); }

  // Left uninitialised on purpose: clearing it would cost more than the whole decision.
  alignas(View) std::byte inline_[inline_capacity * sizeof(View)];
  std::size_t size_ = 0;
  std::vector<View> spilled_;
};

/// See `BasicViewList`. Why it is a template: see `replica_router.hpp`.
using ViewList = BasicViewList<ReplicaView>;

}  // namespace replica_router
