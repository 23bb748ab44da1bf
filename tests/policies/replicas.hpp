// What do the policies' tests choose from? Views of replicas, requests, and counts of what was chosen.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <random>
#include <span>
#include <vector>

#include "replica_router/routing_policy.hpp"

namespace replica_router::testing {

/// `count` replicas with ids from 0, all alike.
inline std::vector<ReplicaView> replicas(std::size_t count) {
  std::vector<ReplicaView> views(count);
  for (std::size_t i = 0; i < count; ++i) {
    views[i].id = i;
  }
  return views;
}

/// Replicas with ids from 0 and these weights.
inline std::vector<ReplicaView> replicas_weighing(std::vector<std::uint32_t> const& weights) {
  auto views = replicas(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    views[i].weight = weights[i];
  }
  return views;
}

/// Each view with the probability of two thirds; at least one.
inline std::vector<ReplicaView> some_of(std::vector<ReplicaView> const& all, std::mt19937_64& random) {
  std::vector<ReplicaView> some;
  while (some.empty()) {
    std::ranges::copy_if(all, std::back_inserter(some), [&](ReplicaView const&) { return random() % 3 != 0; });
  }
  return some;
}

/// All views but that of the replica `id`.
inline std::vector<ReplicaView> without(std::vector<ReplicaView> views, std::size_t id) {
  std::erase_if(views, [&](ReplicaView const& view) { return view.id == id; });
  return views;
}

/// A request with fresh entropy.
inline ReadRequest request(std::mt19937_64& random) {
  ReadRequest made;
  made.entropy = random();
  return made;
}

/// How often each index is chosen in `times` calls.
template <class Policy>
std::vector<std::size_t> counts(Policy& policy, std::span<ReplicaView const> eligible, std::size_t times,
                                std::mt19937_64& random) {
  std::vector<std::size_t> counted(eligible.size());
  for (std::size_t i = 0; i < times; ++i) {
    ++counted.at(policy.choose(request(random), eligible).value());
  }
  return counted;
}

/// The sum of the weights.
inline double weight_sum(std::span<ReplicaView const> views) {
  double sum = 0;
  for (auto const& view : views) {
    sum += view.weight;
  }
  return sum;
}

}  // namespace replica_router::testing
