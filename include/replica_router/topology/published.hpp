// How do many readers see one writer's latest value without a lock? A sequence lock around a trivially copyable value.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

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
    Value value;
    std::uint64_t before = 0;
    do {
      while ((before = sequence_.load(std::memory_order_acquire)) % 2 != 0) {
      }
      copy_words(value, std::make_index_sequence<words>{});
    } while (sequence_.load(std::memory_order_relaxed) != before);
    return value;
  }

 private:
  static constexpr std::size_t words = (sizeof(Value) + 7) / 8;

  // Straight into place, word by word and unrolled: this is most of what a routing decision costs, and a second copy
  // would have to wait for the stores of the first.
  template <std::size_t... Index>
  void copy_words(Value& value, std::index_sequence<Index...>) const {
    auto* const bytes = reinterpret_cast<std::byte*>(&value);
    ((copy_word(bytes + Index * 8, words_[Index].load(std::memory_order_acquire),
                std::integral_constant<std::size_t, std::min<std::size_t>(8, sizeof(Value) - Index * 8)>{})),
     ...);
  }
  template <std::size_t Size>
  static void copy_word(std::byte* to, std::uint64_t word, std::integral_constant<std::size_t, Size>) {
    std::memcpy(to, &word, Size);
  }

  std::atomic<std::uint64_t> sequence_{0};
  std::array<std::atomic<std::uint64_t>, words> words_{};
};

}  // namespace replica_router
