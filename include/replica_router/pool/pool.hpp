// Who gets which connection of one node, and who waits? A bounded pool with fair waiting.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"
#include "replica_router/pool/pool_report.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// What a lease is for. Reads on the primary leave the connections reserved for writes alone.
enum class Purpose : std::uint8_t { replica_read, primary_read, write };

/// The limits of one node's pool.
struct PoolLimits {
  std::size_t max_connections = 10;     ///< open at the same time, at most
  std::size_t reserved_for_writes = 0;  ///< of these, how many reads may never take
  Duration idle_timeout = std::chrono::minutes{10};  ///< an idle connection is closed after this, less up to a quarter
  Duration max_lifetime = std::chrono::minutes{30};  ///< a connection is closed at this age, less up to a quarter
};

/// One connection of a pool, with what the pool knows of it.
template <class Connection>
struct PoolSlot {
  std::unique_ptr<Connection> connection;  ///< empty while it is being opened
  TimePoint expires_at = never;            ///< when it has lived long enough
  TimePoint idle_since = never;            ///< when it was returned
  Duration idle_timeout{};                 ///< how long it may be idle
  TimePoint leased_at = never;             ///< when it was given out
  std::uint32_t epoch = 0;                 ///< the node's epoch when it was opened
  std::thread::id holder{};                ///< the thread that leased it
  Purpose purpose = Purpose::replica_read;         ///< what it was leased for
  bool is_leased = true;                   ///< given out, or being opened for somebody
};

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

  Pool(Backend const& backend, PoolLimits limits) : backend_{backend}, limits_{limits} {}
  Pool(Pool const&) = delete;
  Pool& operator=(Pool const&) = delete;
  ~Pool() = default;

  /// Leases a connection: an idle one, else a new one from `open(deadline)`, else the next that is returned.
  ///
  /// Throws: `PoolTimeout` when none came free by `deadline`; `PoolInterrupted` when the node went down or was removed
  /// meanwhile; whatever `open` throws.
  template <class Open>
  Slot& acquire(Purpose purpose, std::uint32_t epoch, TimePoint deadline, Open&& open) {
    Closing closing{*this};
    std::unique_lock lock{mutex_};
    if (is_closed_) {
      throw PoolInterrupted{};
    }
    auto const aborts_before = aborts_;
    // No queue is jumped: whoever waits and could be served has been served before this lock was given back.
    Slot* slot = take(purpose, epoch, closing);
    while (slot == nullptr && !closing.empty()) {
      // Room is made by closing what is spent.
      lock.unlock();
      closing.run();
      lock.lock();
      if (is_closed_) {
        throw PoolInterrupted{};
      }
      slot = take(purpose, epoch, closing);
    }
    if (slot == nullptr) {
      slot = wait(lock, purpose, deadline);
    }
    lock.unlock();
    closing.run();
    if (slot->connection && (slot->epoch < epoch || !slot->connection->is_usable())) {
      std::unique_ptr<Connection> stale;
      std::lock_guard guard{mutex_};  // abort_leased() may look at any moment
      stale = std::move(slot->connection);
    }
    if (!slot->connection) {
      try {
        auto fresh = open(deadline);
        auto const now = backend_.now();
        std::lock_guard guard{mutex_};
        if (aborts_ != aborts_before) {
          throw PoolInterrupted{};  // nobody would abort a statement on it any more
        }
        slot->connection = std::move(fresh);
        slot->epoch = epoch;
        slot->expires_at = now + jittered(limits_.max_lifetime);
        slot->idle_timeout = jittered(limits_.idle_timeout);
      } catch (...) {
        drop(*slot);
        throw;
      }
    }
    return *slot;
  }

  /// Takes a leased connection back; `is_reusable` says whether the next lease may have it.
  void give_back(Slot& slot, bool is_reusable, std::uint32_t epoch) {
    auto const now = backend_.now();
    bool const keep = is_reusable && slot.epoch >= epoch && now < slot.expires_at;
    if (!keep) {
      drop(slot);
      return;
    }
    std::unique_lock lock{mutex_};
    if (is_closed_) {
      lock.unlock();
      drop(slot);
      return;
    }
    count_out(slot);
    slot.idle_since = now;
    idle_.push_back(&slot);
    serve_waiters();
  }

  /// Closes what has been idle or alive for too long, or is of an older epoch.
  void reap(std::uint32_t epoch) {
    Closing closing{*this};
    auto const now = backend_.now();
    std::lock_guard guard{mutex_};
    for (std::size_t i = 0; i < idle_.size();) {
      if (is_spent(*idle_[i], epoch, now)) {
        closing.add(*idle_[i]);
        idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
  }

  /// The node is proven dead: statements under way fail at once, waiters are sent elsewhere, idle connections go.
  void abort_leased() {
    Closing closing{*this};
    std::lock_guard guard{mutex_};
    ++aborts_;
    for (auto& slot : slots_) {
      if (slot->is_leased && slot->connection) {
        slot->connection->abort();
      }
    }
    interrupt(closing);
  }

  /// The node was removed: nothing is leased any more, what is out is closed when it returns.
  void close() {
    Closing closing{*this};
    std::lock_guard guard{mutex_};
    is_closed_ = true;
    interrupt(closing);
  }

  /// How many connections are leased now.
  std::uint32_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  /// Counts, and who holds what.
  PoolReport report() const {
    auto const now = backend_.now();
    std::lock_guard guard{mutex_};
    return report_locked(now);
  }

 private:
  /// Slots taken out of use under the lock and closed after it; each keeps its place until its connection is closed, so
  /// that no server ever sees more than the maximum.
  class Closing {
   public:
    explicit Closing(Pool& pool) : pool_{pool} {}
    Closing(Closing const&) = delete;
    Closing& operator=(Closing const&) = delete;
    ~Closing() { run(); }
    void add(Slot& slot) { slots_.push_back(&slot); }
    bool empty() const { return slots_.empty(); }
    void run() {
      for (auto* slot : slots_) {
        slot->connection.reset();
      }
      if (!slots_.empty()) {
        std::lock_guard guard{pool_.mutex_};
        for (auto* slot : slots_) {
          pool_.remove(*slot);
        }
        slots_.clear();
        pool_.serve_waiters();
      }
    }

   private:
    Pool& pool_;
    std::vector<Slot*> slots_;
  };

  struct Waiter {
    explicit Waiter(Purpose wanted) : purpose{wanted} {}
    Purpose purpose;
    Slot* slot = nullptr;
    bool is_interrupted = false;
    std::condition_variable ready{};
  };

  bool may_lease(Purpose purpose) const {
    return purpose != Purpose::primary_read || leased_reads_ + limits_.reserved_for_writes < limits_.max_connections;
  }

  bool is_spent(Slot const& slot, std::uint32_t epoch, TimePoint now) const {
    return slot.epoch < epoch || now >= slot.expires_at || now - slot.idle_since >= slot.idle_timeout;
  }

  /// An idle connection, the one used last first, or room for a new one; nothing when there is neither.
  Slot* take(Purpose purpose, std::uint32_t epoch, Closing& closing) {
    if (!may_lease(purpose)) {
      return nullptr;
    }
    auto const now = backend_.now();
    while (!idle_.empty()) {
      Slot* const slot = idle_.back();
      idle_.pop_back();
      if (!is_spent(*slot, epoch, now)) {
        count_in(*slot, purpose, now, std::this_thread::get_id());
        return slot;
      }
      closing.add(*slot);
    }
    if (slots_.size() >= limits_.max_connections) {
      return nullptr;
    }
    slots_.push_back(std::make_unique<Slot>());
    count_in(*slots_.back(), purpose, now, std::this_thread::get_id());
    return slots_.back().get();
  }

  Slot* wait(std::unique_lock<std::mutex>& lock, Purpose purpose, TimePoint deadline) {
    Waiter waiter{purpose};
    waiters_.push_back(&waiter);
    while (waiter.slot == nullptr && !waiter.is_interrupted) {
      if (!backend_.wait_until(waiter.ready, lock, deadline) && waiter.slot == nullptr && !waiter.is_interrupted) {
        waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
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

  /// Hands what is free to those who wait, in their order, passing over reads while only reserved connections are left.
  void serve_waiters() {
    auto const now = backend_.now();
    for (auto at = waiters_.begin(); at != waiters_.end();) {
      Waiter& waiter = **at;
      bool const has_room = !idle_.empty() || slots_.size() < limits_.max_connections;
      if (!has_room) {
        return;
      }
      if (!may_lease(waiter.purpose)) {
        ++at;
        continue;
      }
      if (!idle_.empty()) {
        waiter.slot = idle_.back();
        idle_.pop_back();
      } else {
        slots_.push_back(std::make_unique<Slot>());
        waiter.slot = slots_.back().get();
      }
      count_in(*waiter.slot, waiter.purpose, now, {});
      at = waiters_.erase(at);
      waiter.ready.notify_one();
    }
  }

  void count_in(Slot& slot, Purpose purpose, TimePoint now, std::thread::id holder) {
    slot.is_leased = true;
    slot.purpose = purpose;
    slot.leased_at = now;
    slot.holder = holder;
    leased_reads_ += purpose == Purpose::write ? 0U : 1U;
    in_flight_.fetch_add(1, std::memory_order_relaxed);
  }

  void count_out(Slot& slot) {
    slot.is_leased = false;
    slot.holder = {};
    leased_reads_ -= slot.purpose == Purpose::write ? 0U : 1U;
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
  }

  void remove(Slot& slot) {
    slots_.erase(std::find_if(slots_.begin(), slots_.end(), [&](auto const& own) { return own.get() == &slot; }));
  }

  void drop(Slot& slot) {
    Closing closing{*this};
    std::lock_guard guard{mutex_};
    count_out(slot);
    closing.add(slot);
  }

  void interrupt(Closing& closing) {
    for (auto* waiter : waiters_) {
      waiter->is_interrupted = true;
      waiter->ready.notify_one();
    }
    waiters_.clear();
    for (auto* slot : idle_) {
      closing.add(*slot);
    }
    idle_.clear();
  }

  Duration jittered(Duration limit) {
    // Up to a quarter less, differently for each connection, so that a pool filled at once is not emptied at once.
    spread_ = spread_ * 6364136223846793005U + 1442695040888963407U;
    auto const share = static_cast<std::int64_t>(spread_ >> 54U);  // 0 to 1023
    return limit - limit / 4096 * share;
  }

  PoolReport report_locked(TimePoint now) const {
    PoolReport out;
    out.max_connections = limits_.max_connections;
    out.reserved_for_writes = limits_.reserved_for_writes;
    out.open = slots_.size();
    out.idle = idle_.size();
    out.waiting = waiters_.size();
    for (auto const& slot : slots_) {
      if (slot->is_leased) {
        ++(slot->purpose == Purpose::write ? out.leased_to_writes : out.leased_to_reads);
        out.longest_lease = std::max(out.longest_lease, now - slot->leased_at);
        out.leased_to_this_thread += slot->holder == std::this_thread::get_id() ? 1U : 0U;
      }
    }
    return out;
  }

  Backend const& backend_;
  PoolLimits limits_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;
  std::deque<Waiter*> waiters_;
  std::size_t leased_reads_ = 0;
  std::uint64_t aborts_ = 0;
  std::atomic<std::uint32_t> in_flight_{0};
  std::uint64_t spread_ = reinterpret_cast<std::uintptr_t>(this);
  bool is_closed_ = false;
};

}  // namespace replica_router
