// Who waits for a connection, and who is served next? The queue of one pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <vector>

#include "replica_router/pool/pool_slot.hpp"
#include "replica_router/pool/pool_stock.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// Callers in the order in which they came.
///
/// Thread safety: none but `size()`; the pool keeps its lock around it.
template <class Connection>
class PoolQueue {
 public:
  /// One caller that waits, on its own stack.
  struct Waiter {
    explicit Waiter(Purpose wanted) : purpose{wanted} {}
    Purpose purpose;
    PoolSlot<Connection>* slot = nullptr;  ///< what it was given
    bool is_interrupted = false;           ///< it is to go elsewhere
    std::condition_variable ready{};       ///< told when either is set

    bool is_done() const { return slot != nullptr || is_interrupted; }
  };

  /// How many wait. Thread safety: all calls.
  std::uint32_t size() const { return size_.load(std::memory_order_relaxed); }

  /// Puts a caller at the end.
  void join(Waiter& waiter) {
    waiters_.push_back(&waiter);
    count();
  }

  /// A caller gives up; it must be waiting.
  void leave(Waiter& waiter) {
    waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
    count();
  }

  /// Hands what is free to those who wait, in their order, passing over reads while only reserved connections are left.
  void serve(PoolStock<Connection>& stock, TimePoint now) {
    for (auto at = waiters_.begin(); at != waiters_.end();) {
      Waiter& waiter = **at;
      if (!stock.has_room()) {
        return;
      }
      if (!stock.may_lease(waiter.purpose)) {
        ++at;
        continue;
      }
      waiter.slot = &stock.lease_any(waiter.purpose, now, {});
      at = waiters_.erase(at);
      count();
      waiter.ready.notify_one();
    }
  }

  /// Sends everybody elsewhere.
  void interrupt() {
    for (auto* waiter : waiters_) {
      waiter->is_interrupted = true;
      waiter->ready.notify_one();
    }
    waiters_.clear();
    count();
  }

 private:
  void count() { size_.store(static_cast<std::uint32_t>(waiters_.size()), std::memory_order_relaxed); }

  std::vector<Waiter*> waiters_;
  std::atomic<std::uint32_t> size_{0};
};

}  // namespace replica_router
