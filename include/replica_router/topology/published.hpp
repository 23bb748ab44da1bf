// How do many readers see one writer's latest value without a lock? A sequence lock around a trivially copyable value.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace replica_router {

/// The latest value that one writer has published; readers never block it and never see a mixture of two values.
///
/// Thread safety: any number of readers; writers must exclude each other.
/// Source: H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012.
template <class Value>
class Published {
  static_assert(std::is_trivially_copyable_v<Value>);

 public:
  Published() { publish(Value{}); }
  explicit Published(Value const& value) { publish(value); }

  /// Replaces the value.
  void publish(Value const& value) {
    std::array<std::uint64_t, words> raw{};
    std::memcpy(raw.data(), &value, sizeof value);
    auto const sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    for (std::size_t i = 0; i < words; ++i) {
      // Release, so that whoever sees this word also sees the odd sequence number before it.
      words_[i].store(raw[i], std::memory_order_release);
    }
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  /// The latest value, whole.
  Value read() const {
    std::array<std::uint64_t, words> raw;
    for (;;) {
      auto const before = sequence_.load(std::memory_order_acquire);
      if (before % 2 == 0) {
        for (std::size_t i = 0; i < words; ++i) {
          raw[i] = words_[i].load(std::memory_order_acquire);
        }
        if (sequence_.load(std::memory_order_relaxed) == before) {
          break;
        }
      }
    }
    Value value;
    std::memcpy(static_cast<void*>(&value), raw.data(), sizeof value);
    return value;
  }

 private:
  static constexpr std::size_t words = (sizeof(Value) + 7) / 8;

  std::atomic<std::uint64_t> sequence_{0};
  std::array<std::atomic<std::uint64_t>, words> words_{};
};

}  // namespace replica_router
