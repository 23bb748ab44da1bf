// Where do the views of one decision live? A list that needs no allocation for up to sixteen replicas.
#pragma once

#include <algorithm>
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

  /// Appends a view made of these members, or a copy of a view.
  template <class... Members>
  void emplace_back(Members const&... members) {
    if (end_ == limit_) {
      grow();
    }
    new (end_++) View{members...};
  }

  /// Whether there is none.
  bool empty() const { return end_ == begin_; }

  /// Forgets all.
  void clear() { end_ = begin_; }

  /// All of them.
  std::span<View const> all() const { return {begin_, end_}; }

 private:
  static_assert(std::is_trivially_copyable_v<View>);
  static constexpr std::size_t inline_capacity = 16;

  void grow() {
    auto const size = end_ - begin_;
    std::vector<View> larger(4 * static_cast<std::size_t>(size));
    std::copy(begin_, end_, larger.begin());
    spilled_.swap(larger);
    begin_ = spilled_.data();
    end_ = begin_ + size;
    limit_ = begin_ + spilled_.size();
  }

  // Left uninitialised on purpose: clearing it would cost more than the whole decision.
  alignas(View) std::byte inline_[inline_capacity * sizeof(View)];
  View* begin_ = reinterpret_cast<View*>(inline_);
  View* end_ = begin_;
  View* limit_ = begin_ + inline_capacity;
  std::vector<View> spilled_;
};

/// See `BasicViewList`. Why it is a template: see `replica_router.hpp`.
using ViewList = BasicViewList<ReplicaView>;

}  // namespace replica_router
