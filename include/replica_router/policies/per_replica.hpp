// How does a policy remember something of each replica? One atomic a replica id, in an array that grows without moving.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <string>

#include "replica_router/errors.hpp"

namespace replica_router {

/// An atomic number for each `ReplicaView::id`, zero until it is first written.
///
/// The first eight ids live in the object itself; further ones in blocks, each as large as all before it, that are
/// allocated when an id of theirs is first seen and never move.
/// Thread safety: `at` may be called from any thread. Moving is allowed only before the object is shared.
/// Lifetime: a reference from `at` lives as long as the object is neither moved from nor destroyed.
template <class Number>
class PerReplica {
  static_assert(std::atomic<Number>::is_always_lock_free);

 public:
  /// One more than the greatest id that has a place.
  static constexpr std::size_t capacity = std::size_t{1} << 20;

  PerReplica() = default;
  PerReplica(PerReplica&& other) noexcept {
    for (std::size_t i = 0; i < first_.size(); ++i) {
      first_[i].store(other.first_[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      blocks_[i].store(other.blocks_[i].exchange(nullptr, std::memory_order_relaxed), std::memory_order_relaxed);
    }
  }
  PerReplica& operator=(PerReplica&&) = delete;
  ~PerReplica() {
    for (auto& block : blocks_) {
      delete[] block.load(std::memory_order_relaxed);
    }
  }

  /// The number of the replica `id`.
  /// Throws: UsageError for an id of `capacity` or more.
  std::atomic<Number>& at(std::size_t id) { return id < inline_ids ? first_[id] : in_block(id); }

 private:
  using Cell = std::atomic<Number>;
  static constexpr std::size_t inline_ids = 8;
  static constexpr std::size_t block_count = std::bit_width(capacity / inline_ids) - 1;

  Cell& in_block(std::size_t id) {
    if (id >= capacity) {
      throw UsageError("replica id " + std::to_string(id) + " is too large: a policy keeps ids below " +
                       std::to_string(capacity));
    }
    // A block holds the ids that have the same highest bit: from 8 up to 16, from 16 up to 32, and so on.
    auto const begin = std::bit_floor(id);
    auto& block = blocks_[static_cast<std::size_t>(std::countr_zero(begin / inline_ids))];
    auto* cells = block.load(std::memory_order_acquire);
    if (cells == nullptr) {
      auto fresh = std::make_unique<Cell[]>(begin);
      // Two threads may see a new id at once: one block wins, the other was never used.
      if (block.compare_exchange_strong(cells, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire)) {
        cells = fresh.release();
      }
    }
    return cells[id - begin];
  }

  alignas(64) std::array<Cell, inline_ids> first_{};  // one cache line, and nothing that is only read beside it
  alignas(64) std::array<std::atomic<Cell*>, block_count> blocks_{};
};

}  // namespace replica_router
