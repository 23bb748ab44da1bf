// Which connections does a pool have, which of them are idle, and may this lease have one? The books of one pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "replica_router/pool/pool_report.hpp"
#include "replica_router/pool/pool_slot.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// The connections of one pool and who has them. It never opens, closes or checks one: what is spent is handed out, and
/// keeps its place until it is removed.
///
/// Thread safety: none but `in_flight()`; the pool keeps its lock around it.
template <class Connection>
class PoolStock {
 public:
  using Slot = PoolSlot<Connection>;

  explicit PoolStock(PoolLimits const& limits) : limits_{limits} {}
  PoolStock(PoolStock const&) = delete;
  PoolStock& operator=(PoolStock const&) = delete;
  ~PoolStock() = default;

  /// Whether any connection is idle, or there is room for a new one.
  bool has_room() const { return !idle_.empty() || slots_.size() < limits_.max_connections; }

  /// Whether a lease for `purpose` leaves enough to writes.
  bool may_lease(Purpose purpose) const {
    return purpose != Purpose::primary_read || leased_reads_ + limits_.reserved_for_writes < limits_.max_connections;
  }

  /// Leases to this thread the connection that was used last, where it is of the right kind and needs no look; nothing
  /// otherwise. Nearly every lease of a busy pool is one of these.
  Slot* lease_warm(Purpose purpose, std::uint32_t epoch, TimePoint now) {
    if (idle_.empty() || !may_lease(purpose)) {
      return nullptr;
    }
    auto& slot = *idle_.back();
    if (slot.access != access_for(purpose) || slot.epoch != epoch || !was_leased_just_before(now, slot) ||
        now >= slot.expires_at) {
      return nullptr;
    }
    idle_.pop_back();
    begin_lease(slot, purpose, now, std::this_thread::get_id());
    return &slot;
  }

  /// Leases an idle connection to this thread, the one used last first, or room for a new one; nothing when there is
  /// neither. Idle ones that are of an older epoch or have lived or idled too long go to `spent`. Where all the room is
  /// taken by connections of the other kind, one of those is leased, to be replaced.
  Slot* lease(Purpose purpose, std::uint32_t epoch, TimePoint now, std::vector<Slot*>& spent) {
    if (!may_lease(purpose)) {
      return nullptr;
    }
    for (auto at = idle_for(purpose); at != idle_.end() && is_spent(**at, epoch, now); at = idle_for(purpose)) {
      spent.push_back(*at);
      idle_.erase(at);
    }
    return has_room() ? &lease_any(purpose, now, std::this_thread::get_id()) : nullptr;
  }

  /// Leases what is free, of which there must be some, however old it is: whoever gets it checks it first.
  Slot& lease_any(Purpose purpose, TimePoint now, std::thread::id holder) {
    Slot* slot = nullptr;
    auto at = idle_for(purpose);
    if (at == idle_.end() && slots_.size() < limits_.max_connections) {
      slot = slots_.emplace_back(std::make_unique<Slot>()).get();
    } else {
      at = at == idle_.end() ? idle_.begin() : at;
      slot = *at;
      idle_.erase(at);
    }
    begin_lease(*slot, purpose, now, holder);
    return *slot;
  }

  /// A leased slot has got a new connection.
  void opened(Slot& slot, std::unique_ptr<Connection> connection, std::uint32_t epoch, TimePoint now) {
    slot.connection = std::move(connection);
    slot.access = access_for(slot.purpose);
    slot.epoch = epoch;
    slot.leased_at = now;
    slot.expires_at = now + jittered(limits_.max_lifetime);
    slot.idle_timeout = jittered(limits_.idle_timeout);
  }

  /// A lease is over; its connection is idle now.
  void rest(Slot& slot) {
    end_lease(slot);
    slot.idle_since = never;
    idle_.push_back(&slot);
  }

  /// A lease is over; its connection is to be closed, and the slot removed then.
  void end_lease(Slot& slot) {
    slot.is_leased = false;
    slot.holder = {};
    leased_reads_ -= slot.purpose == Purpose::write ? 0U : 1U;
    count_in_flight(in_flight() - 1);
  }

  /// Takes out of use, into `spent`, what is of an older epoch or has lived or idled too long.
  void take_spent(std::uint32_t epoch, TimePoint now, std::vector<Slot*>& spent) {
    for (std::size_t i = 0; i < idle_.size();) {
      if (is_spent(*idle_[i], epoch, now)) {
        spent.push_back(idle_[i]);
        idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        // Stamped here, and not at its return, where it would take a look at the clock for every lease.
        idle_[i]->idle_since = idle_[i]->idle_since == never ? now : idle_[i]->idle_since;
        ++i;
      }
    }
  }

  /// Takes everything idle out of use, into `spent`.
  void take_idle(std::vector<Slot*>& spent) {
    spent.insert(spent.end(), idle_.begin(), idle_.end());
    idle_.clear();
  }

  /// The slot's connection is closed: its place is free.
  void remove(Slot& slot) {
    slots_.erase(std::find_if(slots_.begin(), slots_.end(), [&](auto const& own) { return own.get() == &slot; }));
  }

  /// Aborts what is under way on leased connections.
  void abort_leased() {
    for (auto& slot : slots_) {
      if (slot->is_leased && slot->connection) {
        slot->connection->abort();
      }
    }
  }

  /// How many connections are leased now. Thread safety: all calls.
  std::uint32_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  /// Counts, and who holds what; `waiting` is left to the pool.
  PoolReport report(TimePoint now) const {
    PoolReport out;
    out.max_connections = limits_.max_connections;
    out.reserved_for_writes = limits_.reserved_for_writes;
    out.open = slots_.size();
    out.idle = idle_.size();
    for (auto const& slot : slots_) {
      if (slot->is_leased) {
        ++(slot->purpose == Purpose::write ? out.leased_to_writes : out.leased_to_reads);
        out.longest_lease = std::max(out.longest_lease, now - slot->leased_at);
        out.leased_to_this_thread += slot->holder == std::this_thread::get_id() ? 1U : 0U;
      }
    }
    return out;
  }

 private:
  void begin_lease(Slot& slot, Purpose purpose, TimePoint now, std::thread::id holder) {
    slot.is_leased = true;
    slot.is_warm = was_leased_just_before(now, slot);
    slot.purpose = purpose;
    slot.leased_at = now;
    slot.holder = holder;
    leased_reads_ += purpose == Purpose::write ? 0U : 1U;
    count_in_flight(in_flight() + 1);
  }

  /// Under the pool's lock, as all changes are: readers see whole numbers, and that is all they need.
  void count_in_flight(std::uint32_t count) { in_flight_.store(count, std::memory_order_relaxed); }

  /// The idle connection of the right kind that was used last.
  typename std::vector<Slot*>::iterator idle_for(Purpose purpose) {
    auto at = idle_.end();
    while (at != idle_.begin()) {
      if ((*--at)->access == access_for(purpose)) {
        return at;
      }
    }
    return idle_.end();
  }

  static bool was_leased_just_before(TimePoint now, Slot const& slot) { return now < slot.leased_at + warmth; }

  static bool is_spent(Slot const& slot, std::uint32_t epoch, TimePoint now) {
    bool const is_idle_too_long = slot.idle_since != never && now - slot.idle_since >= slot.idle_timeout;
    return slot.epoch < epoch || now >= slot.expires_at || is_idle_too_long;
  }

  Duration jittered(Duration limit) {
    // Up to a quarter less, differently for each connection, so that a pool filled at once is not emptied at once.
    spread_ = spread_ * 6364136223846793005U + 1442695040888963407U;
    auto const share = static_cast<std::int64_t>(spread_ >> 54U);  // 0 to 1023
    return limit - limit / 4096 * share;
  }

  std::vector<Slot*> idle_;
  std::atomic<std::uint32_t> in_flight_{0};
  std::uint32_t leased_reads_ = 0;
  PoolLimits limits_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::uint64_t spread_ = reinterpret_cast<std::uintptr_t>(this);
};

}  // namespace replica_router
