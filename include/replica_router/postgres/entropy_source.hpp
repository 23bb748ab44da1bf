// Where do random bits come from, quickly and from many threads at once? One generator for each of a few cache lines.
#pragma once

#include <sys/random.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace replica_router {

/// Uniformly random bits, seeded by the operating system; good for spreading load, not for secrets.
///
/// Thread safety: all calls. Threads mostly use different cache lines, so that they do not slow each other down.
/// Source: SplitMix64: one step of a counter, then a mixing function (Steele, Lea and Flood, 2014).
class EntropySource {
 public:
  EntropySource() {
    std::array<std::uint64_t, lines> seeds{};
    // Not std::random_device: <random> alone takes a tenth of what <pqxx/pqxx> takes to compile.
    if (getentropy(seeds.data(), sizeof seeds) != 0) {
      throw std::system_error{errno, std::generic_category(), "no random bits from the operating system"};
    }
    for (std::size_t i = 0; i < lines; ++i) {
      lines_[i].counter = seeds[i];
    }
  }

  /// Fresh bits.
  std::uint64_t draw() const {
    // Each thread has a stack of its own, so the place of a local variable tells threads apart, as good as for nothing.
    char here = 0;
    auto const page = reinterpret_cast<std::uintptr_t>(&here) >> 12U;
    auto const line = static_cast<std::size_t>((page * step) >> 60U);
    auto bits = lines_[line].counter.fetch_add(step, std::memory_order_relaxed);
    bits = (bits ^ (bits >> 30U)) * 0xBF58476D1CE4E5B9U;
    bits = (bits ^ (bits >> 27U)) * 0x94D049BB133111EBU;
    return bits ^ (bits >> 31U);
  }

 private:
  static constexpr std::size_t lines = 16;
  static constexpr std::uint64_t step = 0x9E3779B97F4A7C15U;

  struct alignas(64) Line {
    std::atomic<std::uint64_t> counter{0};
  };
  mutable std::array<Line, lines> lines_;
};

}  // namespace replica_router
