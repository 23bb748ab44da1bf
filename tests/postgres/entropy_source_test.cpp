#include "replica_router/postgres/entropy_source.hpp"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

using replica_router::EntropySource;

TEST_CASE("bits are different at every call, also from several threads at once") {
  EntropySource const source;
  constexpr std::size_t each = 20'000;
  std::array<std::vector<std::uint64_t>, 4> drawn;
  std::vector<std::thread> threads;
  for (auto& mine : drawn) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < each; ++i) {
        mine.push_back(source.draw());
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  std::set<std::uint64_t> all;
  for (auto const& mine : drawn) {
    all.insert(mine.begin(), mine.end());
  }
  CHECK(all.size() == drawn.size() * each);  // a pair among 80,000 of 2^64 is not to be expected in our lifetime
}

TEST_CASE("every bit is set half of the time, and two sources do not agree") {
  EntropySource const one;
  EntropySource const other;
  std::array<int, 64> set{};
  int equal = 0;
  constexpr int draws = 10'000;
  for (int i = 0; i < draws; ++i) {
    auto const bits = one.draw();
    equal += bits == other.draw() ? 1 : 0;
    for (std::size_t bit = 0; bit < set.size(); ++bit) {
      set[bit] += static_cast<int>((bits >> bit) & 1U);
    }
  }
  for (auto const count : set) {
    CHECK(count > draws * 46 / 100);  // eight standard deviations
    CHECK(count < draws * 54 / 100);
  }
  CHECK(equal == 0);
}
