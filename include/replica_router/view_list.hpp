// Where do the views of one decision live? A list that needs no allocation for up to sixteen replicas.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// The replicas shown to a policy for one decision.
template <class View>
class BasicViewList {
 public:
  /// So many views need no allocation.
  static constexpr std::size_t inline_capacity = 16;

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

  /// Makes room for so many, so that appending them moves nothing.
  void reserve(std::size_t count) {
    if (count > static_cast<std::size_t>(limit_ - begin_)) {
      move_to(count);
    }
  }

  /// Whether there is none.
  bool empty() const { return end_ == begin_; }

  /// Forgets all.
  void clear() { end_ = begin_; }

  /// All of them.
  std::span<View const> all() const { return {begin_, end_}; }

 private:
  static_assert(std::is_trivially_copyable_v<View>);
  void grow() { move_to(2 * static_cast<std::size_t>(end_ - begin_)); }

  void move_to(std::size_t capacity) {
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity * sizeof(View));
    auto* const views = reinterpret_cast<View*>(larger.get());
    end_ = std::uninitialized_copy(begin_, end_, views);
    begin_ = views;
    limit_ = views + capacity;
    spilled_ = std::move(larger);
  }

  // Left uninitialised on purpose: clearing it would cost more than the whole decision.
  alignas(View) std::byte inline_[inline_capacity * sizeof(View)];
  View* begin_ = reinterpret_cast<View*>(inline_);
  View* end_ = begin_;
  View* limit_ = begin_ + inline_capacity;
  std::unique_ptr<std::byte[]> spilled_;
};

/// See `BasicViewList`. Why it is a template: see `replica_router.hpp`.
using ViewList = BasicViewList<ReplicaView>;

}  // namespace replica_router
