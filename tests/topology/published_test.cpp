#include "replica_router/topology/published.hpp"

#include <array>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace rr = replica_router;

namespace {

/// A value whose words all follow from the first, so that any mixture of two of them shows.
struct Chain {
  std::array<std::uint64_t, 24> links{};

  static Chain from(std::uint64_t first) {
    Chain out;
    for (auto& link : out.links) {
      link = first;
      first = first * 6364136223846793005U + 1;
    }
    return out;
  }

  bool is_whole() const {
    for (std::size_t i = 1; i < links.size(); ++i) {
      if (links[i] != links[i - 1] * 6364136223846793005U + 1) {
        return false;
      }
    }
    return true;
  }
};

/// A value that does not fill its last word.
struct Odd {
  std::uint32_t number = 7;
  std::array<char, 7> text{'e', 'm', 'p', 't', 'y'};
};

}  // namespace

TEST_CASE("what was never published is the default value") {
  rr::Published<Odd> const published;
  CHECK(published.read().number == 7);
  CHECK(published.read().text == Odd{}.text);
}

TEST_CASE("a value can be given at the start") { CHECK(rr::Published<std::uint64_t>{42U}.read() == 42); }

TEST_CASE("the latest value replaces the one before, to the last byte") {
  rr::Published<Odd> published;
  published.publish({1, {'o', 'n', 'e'}});
  published.publish({2, {'s', 'e', 'v', 'e', 'n', ' ', '2'}});
  auto const seen = published.read();
  CHECK(seen.number == 2);
  CHECK(seen.text == std::array<char, 7>{'s', 'e', 'v', 'e', 'n', ' ', '2'});
  CHECK(published.read().number == 2);
}

TEST_CASE("three readers never see a mixture of two values, nor time going back") {
  constexpr std::uint64_t last = 60'000;
  rr::Published<Chain> published{Chain::from(0)};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<std::uint64_t> gone_back{0};
  std::atomic<int> ready{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      std::uint64_t before = 0;
      ready.fetch_add(1);
      while (before != last) {
        auto const seen = published.read();
        torn += seen.is_whole() ? 0U : 1U;
        gone_back += seen.links[0] < before ? 1U : 0U;
        before = seen.links[0];
      }
    });
  }
  while (ready.load() < 3) {
    std::this_thread::yield();
  }
  for (std::uint64_t i = 1; i <= last; ++i) {
    published.publish(Chain::from(i));
  }
  for (auto& reader : readers) {
    reader.join();
  }
  CHECK(torn == 0);
  CHECK(gone_back == 0);
}
