#include "replica_router/policies/per_replica.hpp"

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"

using replica_router::PerReplica;
using replica_router::UsageError;

TEST_CASE("every id has a number of its own, zero at first, which never moves") {
  PerReplica<std::uint64_t> numbers;
  std::set<void const*> places;
  std::vector<std::atomic<std::uint64_t>*> seen;
  for (std::size_t id = 0; id < 5'000; ++id) {
    auto& number = numbers.at(id);
    REQUIRE(number.load() == 0);
    number = id + 1;
    seen.push_back(&number);
    places.insert(&number);
  }
  CHECK(places.size() == seen.size());
  for (std::size_t id = 0; id < seen.size(); ++id) {
    REQUIRE(&numbers.at(id) == seen[id]);
    REQUIRE(numbers.at(id).load() == id + 1);
  }
}

TEST_CASE("the greatest id has a place, and a greater one is refused") {
  PerReplica<std::uint64_t> numbers;
  numbers.at(PerReplica<std::uint64_t>::capacity - 1) = 5;
  CHECK(numbers.at(PerReplica<std::uint64_t>::capacity - 1).load() == 5);
  CHECK_THROWS_AS(numbers.at(PerReplica<std::uint64_t>::capacity), UsageError);
  CHECK_THROWS_AS(numbers.at(SIZE_MAX), UsageError);
}

TEST_CASE("moving takes the numbers along") {
  PerReplica<std::uint64_t> numbers;
  for (std::size_t id = 0; id < 100; ++id) {
    numbers.at(id) = id + 1;
  }
  auto moved = std::move(numbers);
  for (std::size_t id = 0; id < 100; ++id) {
    REQUIRE(moved.at(id).load() == id + 1);
  }
}

TEST_CASE("threads that meet at a new id agree on its place") {
  constexpr std::size_t thread_count = 2;
  constexpr std::size_t rounds = 3'000;
  // A large block takes long to make, so that several threads make one at once.
  constexpr std::size_t id = 1'000;
  std::vector<PerReplica<std::uint64_t>> numbers(rounds);
  std::atomic<std::size_t> arrived = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < thread_count; ++t) {
    threads.emplace_back([&] {
      for (std::size_t round = 0; round < rounds; ++round) {
        arrived.fetch_add(1);
        while (arrived.load() < (round + 1) * thread_count) {
          std::this_thread::yield();
        }
        numbers[round].at(id).fetch_add(1);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (auto& number : numbers) {
    REQUIRE(number.at(id).load() == thread_count);
  }
}
