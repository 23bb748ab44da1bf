#include "replica_router/policies/round_robin.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "replicas.hpp"

namespace rr = replica_router;
using rr::ReplicaView;
using rr::RoundRobin;
using namespace rr::testing;

namespace {

/// Follows one stretch of choices: how far shares have got apart over any part of it.
class Stretch {
 public:
  explicit Stretch(std::vector<ReplicaView> const& eligible)
      : eligible_{eligible}, counts_(eligible.size()), least_(eligible.size()), most_(eligible.size()) {}

  void add(std::size_t index) {
    ++counts_.at(index);
    ++length_;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      auto const excess = static_cast<double>(counts_[i]) - length_ * eligible_[i].weight / weight_sum(eligible_);
      least_[i] = std::min(least_[i], excess);
      most_[i] = std::max(most_[i], excess);
    }
  }

  /// The most turns that any replica has been off its exact share, counted from the beginning of the stretch.
  double off_from_beginning() const {
    double off = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      off = std::max({off, most_[i], -least_[i]});
    }
    return off;
  }

  /// The same, counted from any moment to any later one.
  double off_anywhere() const {
    double off = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      off = std::max(off, most_[i] - least_[i]);
    }
    return off;
  }

 private:
  std::vector<ReplicaView> eligible_;
  std::vector<std::size_t> counts_;
  std::vector<double> least_;
  std::vector<double> most_;
  double length_ = 0;
};

/// The turns of a stretch of equal weights, as indices, are fair when no two replicas' counts differ by more than one
/// between any two moments of it.
bool is_fair_to_within_one(std::vector<std::size_t> const& turns, std::size_t replica_count) {
  for (std::size_t a = 0; a < replica_count; ++a) {
    for (std::size_t b = a + 1; b < replica_count; ++b) {
      int difference = 0;
      int least = 0;
      int most = 0;
      for (auto const turn : turns) {
        difference += (turn == a ? 1 : 0) - (turn == b ? 1 : 0);
        least = std::min(least, difference);
        most = std::max(most, difference);
      }
      if (most - least > 1) {
        return false;
      }
    }
  }
  return true;
}

std::vector<ReplicaView> random_fleet(std::mt19937_64& random, std::uint32_t heaviest) {
  auto views = replicas(1 + random() % 8);
  for (auto& view : views) {
    view.weight = static_cast<std::uint32_t>(1 + random() % heaviest);
  }
  return views;
}

std::size_t stretch_length(std::mt19937_64& random) { return random() % 4 == 0 ? random() % 60 : random() % 6; }

}  // namespace

TEST_CASE("round robin takes equal replicas in order") {
  RoundRobin policy;
  auto const eligible = replicas(3);
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(policy.choose({}, eligible) == i % 3);
  }
}

TEST_CASE("equal shares differ by at most one turn over any stretch, whoever left and returned before") {
  std::mt19937_64 random{1};
  for (int history = 0; history < 10'000; ++history) {
    RoundRobin policy;
    auto const all = random_fleet(random, 1);
    for (int change = 0; change < 20; ++change) {
      auto const eligible = some_of(all, random);
      std::vector<std::size_t> turns(stretch_length(random));
      for (auto& turn : turns) {
        turn = policy.choose({}, eligible).value();
      }
      REQUIRE(is_fair_to_within_one(turns, eligible.size()));
    }
  }
}

TEST_CASE("weighted shares stay within one turn of exact from the beginning, within two anywhere") {
  std::mt19937_64 random{2};
  for (int fleet = 0; fleet < 500; ++fleet) {
    RoundRobin policy;
    auto const eligible = random_fleet(random, fleet % 2 == 0 ? 3 : 100);
    Stretch stretch{eligible};
    for (int i = 0; i < 1'000; ++i) {
      stretch.add(policy.choose({}, eligible).value());
    }
    REQUIRE(stretch.off_from_beginning() < 1);
    REQUIRE(stretch.off_anywhere() < 2);
  }
}

TEST_CASE("weighted shares are at most a few turns off after any sequence of leaving and returning") {
  std::mt19937_64 random{3};
  std::size_t stretches = 0;
  std::size_t more_than_two_off = 0;
  for (int history = 0; history < 5'000; ++history) {
    RoundRobin policy;
    auto const all = random_fleet(random, 10);
    for (int change = 0; change < 20; ++change) {
      auto const eligible = some_of(all, random);
      Stretch stretch{eligible};
      for (auto left = stretch_length(random); left > 0; --left) {
        stretch.add(policy.choose({}, eligible).value());
      }
      REQUIRE(stretch.off_from_beginning() < 5);
      more_than_two_off += stretch.off_from_beginning() > 2 ? 1 : 0;
      ++stretches;
    }
  }
  CHECK(more_than_two_off * 100 < stretches);
}

TEST_CASE("a replica that was away for long returns without a burst and without waiting") {
  for (std::uint32_t const weight : {1U, 2U, 10U}) {
    CAPTURE(weight);
    auto const all = replicas_weighing({weight, 1, 1, 1, 1});
    RoundRobin policy;
    for (int i = 0; i < 10'000; ++i) {
      policy.choose({}, without(all, 0));
    }
    std::size_t first_turn = 0;
    Stretch stretch{all};
    for (std::size_t i = 1; i <= 1'000; ++i) {
      auto const index = policy.choose({}, all).value();
      first_turn = index == 0 && first_turn == 0 ? i : first_turn;
      stretch.add(index);
    }
    CHECK(first_turn <= 4);
    CHECK(stretch.off_from_beginning() < 3);
  }
}

TEST_CASE("the share of a replica that fails is spread evenly over all the others") {
  std::mt19937_64 random{4};
  for (std::size_t size = 2; size <= 8; ++size) {
    for (std::size_t dead = 0; dead < size; ++dead) {
      CAPTURE(size, dead);
      RoundRobin policy;
      auto const all = replicas(size);
      std::vector<std::size_t> served(size);
      // At first it fails and the others are asked again; then it is known to be down.
      for (std::size_t read = 0; read < 100 * size; ++read) {
        auto const& known = read < 50 * size ? all : without(all, dead);
        auto id = known[policy.choose({}, known).value()].id;
        if (id == dead) {
          auto const rest = without(known, dead);
          id = rest[policy.choose({}, rest).value()].id;
        }
        ++served[id];
      }
      CHECK(served[dead] == 0);
      std::erase(served, std::size_t{0});
      REQUIRE(served.size() == size - 1);
      auto const [fewest, most] = std::ranges::minmax(served);
      CHECK(most - fewest <= 1);
    }
  }
}

TEST_CASE("two failing replicas of weighted ones leave the others their proportions") {
  auto const all = replicas_weighing({1, 2, 3, 4, 5});
  RoundRobin policy;
  std::vector<double> served(all.size());
  constexpr int reads = 10'000;
  for (int read = 0; read < reads; ++read) {
    auto candidates = all;
    auto id = candidates[policy.choose({}, candidates).value()].id;
    while (id == 1 || id == 4) {
      candidates = without(candidates, id);
      id = candidates[policy.choose({}, candidates).value()].id;
    }
    ++served[id];
  }
  for (std::size_t const id : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
    CAPTURE(id);
    CHECK(std::abs(served[id] - reads * all[id].weight / 8.0) < 0.01 * reads);
  }
}

TEST_CASE("changing sets starve nobody") {
  // With a counter modulo the number of replicas, the second of these sets would always get the same answer.
  RoundRobin policy;
  auto const all = replicas(3);
  auto const rest = without(all, 1);
  std::array<int, 3> served{};
  for (int i = 0; i < 300; ++i) {
    policy.choose({}, all);
    ++served.at(rest[policy.choose({}, rest).value()].id);
  }
  CHECK(served[0] > 100);
  CHECK(served[2] > 100);
}

TEST_CASE("round robin takes any number of replicas, any small id and any weight") {
  RoundRobin policy;
  auto views = replicas(100);
  for (std::size_t i = 0; i < views.size(); ++i) {
    views[i].id = i * i * 100;
  }
  for (std::size_t i = 0; i < 300; ++i) {
    REQUIRE(policy.choose({}, views) == i % 100);
  }
  views[0].weight = 0;
  views[1].weight = UINT32_MAX;
  for (std::size_t i = 0; i < 300; ++i) {
    REQUIRE(policy.choose({}, views).value() < views.size());
  }
  CHECK_FALSE(policy.choose({}, {}));
}

TEST_CASE("round robin keeps its place when it is moved") {
  RoundRobin policy;
  auto const eligible = replicas(20);
  for (std::size_t i = 0; i < 13; ++i) {
    policy.choose({}, eligible);
  }
  auto moved = std::move(policy);
  CHECK(moved.choose({}, eligible) == 13);
}

TEST_CASE("round robin is fair to many threads at once") {
  constexpr std::size_t thread_count = 8;
  constexpr std::size_t turns = 30'000;
  for (auto const& weights : {std::vector<std::uint32_t>{1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 2, 3, 1, 2, 3}}) {
    RoundRobin policy;
    auto const all = replicas_weighing(weights);
    std::vector<std::atomic<std::size_t>> served(all.size());
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < thread_count; ++t) {
      threads.emplace_back([&] {
        for (std::size_t i = 0; i < turns; ++i) {
          served[policy.choose({}, all).value_or(0)].fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      auto const share = static_cast<double>(thread_count * turns) * all[i].weight / weight_sum(all);
      CAPTURE(weights, i, served[i].load(), share);
      CHECK(std::abs(static_cast<double>(served[i].load()) - share) <= 2);
    }
  }
}
