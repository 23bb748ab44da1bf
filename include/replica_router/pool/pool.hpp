// Who gets which connection of one node, and who waits? A bounded pool with fair waiting.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"
#include "replica_router/pool/pool_queue.hpp"
#include "replica_router/pool/pool_report.hpp"
#include "replica_router/pool/pool_slot.hpp"
#include "replica_router/pool/pool_stock.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// The connections of one node: opened when first needed, never more than the maximum, waited for in order.
///
/// `Connection` must offer `bool is_usable()` (no round trip) and `void abort() noexcept` (from any thread).
/// Thread safety: all calls. No lock is held while a connection is opened, checked or closed.
/// Lifetime: must outlive its leases.
template <class Backend>
class Pool {
 public:
  using Connection = typename Backend::Connection;
  using Slot = PoolSlot<Connection>;

  Pool(Backend const& backend, PoolLimits limits) : backend_{backend}, stock_{limits} {}
  Pool(Pool const&) = delete;
  Pool& operator=(Pool const&) = delete;
  ~Pool() = default;

  /// Leases a connection `now`: an idle one, else a new one from `open(deadline)`, else the next that is returned.
  ///
  /// Throws: `PoolTimeout` when none came free by `deadline`; `PoolInterrupted` when the node went down or was removed
  /// meanwhile; whatever `open` throws.
  template <class Open>
  Slot& acquire(Purpose purpose, std::uint32_t epoch, TimePoint now, TimePoint deadline, Open&& open) {
    if (auto* const slot = lease_warm(purpose, epoch, now)) {
      return *slot;
    }
    return acquire_any(purpose, epoch, now, deadline, open);
  }

  /// Takes a leased connection back; `is_reusable` says whether the next lease may have it.
  void give_back(Slot& slot, bool is_reusable, std::uint32_t epoch) {
    if (!is_reusable || slot.epoch < epoch || !rest(slot)) {
      drop(slot);
    }
  }

  /// Closes what has been idle or alive for too long, or is of an older epoch. Idle time counts from the first of these
  /// calls that finds a connection idle.
  void reap(std::uint32_t epoch) {
    Closing closing{*this};
    auto const now = backend_.now();
    std::lock_guard guard{mutex_};
    stock_.take_spent(epoch, now, closing.slots());
  }

  /// The node is proven dead: statements under way fail at once, waiters are sent elsewhere, idle connections go.
  void abort_leased() {
    Closing closing{*this};
    std::lock_guard guard{mutex_};
    ++aborts_;
    stock_.abort_leased();
    interrupt(closing);
  }

  /// The node was removed: nothing is leased any more, what is out is closed when it returns.
  void close() {
    Closing closing{*this};
    std::lock_guard guard{mutex_};
    is_closed_ = true;
    interrupt(closing);
  }

  /// How many callers hold a connection now or wait for one: those who wait will be served here, too.
  std::uint32_t in_flight() const { return stock_.in_flight() + queue_.size(); }

  /// Counts, and who holds what.
  PoolReport report() const {
    auto const now = backend_.now();
    std::lock_guard guard{mutex_};
    return report_locked(now);
  }

 private:
  Slot* lease_warm(Purpose purpose, std::uint32_t epoch, TimePoint now) {
    std::lock_guard guard{mutex_};
    return stock_.lease_warm(purpose, epoch, now);  // of a pool that was closed none is idle
  }

  /// Makes it idle, or hands it to who waits; false where nothing is to be kept any more.
  bool rest(Slot& slot) {
    std::lock_guard guard{mutex_};
    if (is_closed_) {
      return false;
    }
    stock_.rest(slot);
    if (queue_.size() != 0) {
      queue_.serve(stock_, backend_.now());
    }
    return true;
  }

  // Not inlined, and so out of the way of nearly every lease.
  template <class Open>
  [[gnu::noinline]] Slot& acquire_any(Purpose purpose, std::uint32_t epoch, TimePoint now, TimePoint deadline,
                                      Open& open) {
    Closing closing{*this};
    std::unique_lock lock{mutex_};
    if (is_closed_) {
      throw PoolInterrupted{};
    }
    auto const aborts_before = aborts_;
    // No queue is jumped: whoever waits and could be served has been served before this lock was given back.
    Slot* slot = stock_.lease(purpose, epoch, now, closing.slots());
    while (slot == nullptr && !closing.empty()) {
      // Room is made by closing what is spent.
      lock.unlock();
      closing.run();
      lock.lock();
      if (is_closed_) {
        throw PoolInterrupted{};
      }
      slot = stock_.lease(purpose, epoch, backend_.now(), closing.slots());
    }
    if (slot == nullptr) {
      slot = wait(lock, purpose, deadline);
    }
    lock.unlock();
    closing.run();
    if (slot->connection && (slot->epoch < epoch || slot->access != access_for(purpose) ||
                             (!slot->is_warm && !slot->connection->is_usable()))) {
      std::unique_ptr<Connection> unfit;
      std::lock_guard guard{mutex_};  // abort_leased() may look at any moment
      unfit = std::move(slot->connection);
    }
    if (!slot->connection) {
      try {
        auto fresh = open(deadline);
        auto const opened_at = backend_.now();
        std::lock_guard guard{mutex_};
        if (aborts_ != aborts_before) {
          throw PoolInterrupted{};  // nobody would abort a statement on it any more
        }
        stock_.opened(*slot, std::move(fresh), epoch, opened_at);
      } catch (...) {
        drop(*slot);
        throw;
      }
    }
    return *slot;
  }

  /// Slots taken out of use under the lock and closed after it; each keeps its place until its connection is closed, so
  /// that no server ever sees more than the maximum.
  class Closing {
   public:
    explicit Closing(Pool& pool) : pool_{pool} {}
    Closing(Closing const&) = delete;
    Closing& operator=(Closing const&) = delete;
    ~Closing() { run(); }
    std::vector<Slot*>& slots() { return slots_; }
    bool empty() const { return slots_.empty(); }
    void run() {
      if (slots_.empty()) {
        return;
      }
      for (auto* slot : slots_) {
        slot->connection.reset();
      }
      std::lock_guard guard{pool_.mutex_};
      for (auto* slot : slots_) {
        pool_.stock_.remove(*slot);
      }
      slots_.clear();
      pool_.queue_.serve(pool_.stock_, pool_.backend_.now());
    }

   private:
    Pool& pool_;
    std::vector<Slot*> slots_;
  };

  using Waiter = typename PoolQueue<Connection>::Waiter;

  Slot* wait(std::unique_lock<std::mutex>& lock, Purpose purpose, TimePoint deadline) {
    Waiter waiter{purpose};
    queue_.join(waiter);
    while (!waiter.is_done()) {
      if (!backend_.wait_until(waiter.ready, lock, deadline) && !waiter.is_done()) {
        queue_.leave(waiter);
        // The report is made under the lock that the wait gave back, and so tells what barred this very caller.
        throw PoolTimeout{report_locked(backend_.now()).text()};
      }
    }
    if (waiter.is_interrupted) {
      throw PoolInterrupted{};
    }
    waiter.slot->holder = std::this_thread::get_id();
    return waiter.slot;
  }

  [[gnu::noinline]] void drop(Slot& slot) {
    Closing closing{*this};
    std::lock_guard guard{mutex_};
    stock_.end_lease(slot);
    closing.slots().push_back(&slot);
  }

  void interrupt(Closing& closing) {
    queue_.interrupt();
    stock_.take_idle(closing.slots());
  }

  PoolReport report_locked(TimePoint now) const {
    auto out = stock_.report(now);
    out.waiting = queue_.size();
    return out;
  }

  // In this order what every lease looks at lies together.
  Backend const& backend_;
  std::uint64_t aborts_ = 0;
  PoolQueue<Connection> queue_;
  bool is_closed_ = false;
  mutable std::mutex mutex_;
  PoolStock<Connection> stock_;
};

}  // namespace replica_router
