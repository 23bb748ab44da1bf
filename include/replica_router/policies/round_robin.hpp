// Whose turn is it? Each replica in turn, as often as its weight says, whichever nodes leave and return.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "replica_router/policies/per_replica.hpp"
#include "replica_router/policies/weighted_pick.hpp"
#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// Each eligible replica in turn, in proportion to weight.
///
/// While the same replicas are eligible, equal weights differ by at most one turn over any stretch, whoever left and
/// returned before. Different weights keep within one turn of their exact shares, counted from the beginning; a change
/// of who is eligible shifts that by a few turns, once. A replica that returns gets a turn at once, but does not catch
/// up on those it missed; one that fails, so that the others are asked again, burdens them all alike.
/// Thread safety: any thread, without a lock.
/// Source: Stoica and Abdel-Wahab, "Earliest Eligible Virtual Deadline First" (1995), for different weights.
template <class Number>
class BasicRoundRobin {
 public:
  /// The replica whose turn it is.
  std::optional<std::size_t> choose(ReadRequest const&, std::span<ReplicaView const> eligible) {
    if (eligible.empty()) {
      return std::nullopt;
    }
    bool const weigh_alike = std::all_of(eligible.begin(), eligible.end(), [&](ReplicaView const& replica) {
      return weight_of(replica) == weight_of(eligible.front());
    });
    while (true) {
      auto const turn = weigh_alike ? turn_of_longest_waiting(eligible) : turn_by_weight(eligible);
      auto seen = turn.from;
      if (places_.at(eligible[turn.index].id).compare_exchange_weak(seen, turn.to, std::memory_order_relaxed)) {
        return turn.index;
      }
    }
  }

  /// The policy's text form.
  std::string text() const { return "round-robin"; }

 private:
  // Each replica has a place in virtual time, which a turn moves on by the replica's stride, `round` / weight. Places
  // wrap around, so only differences of places mean anything.

  /// Divisible by 1 to 25, so that the strides of ordinary weights are exact.
  static constexpr double round = 26'771'144'400.0;

  static Number stride_of(Number weight) {
    return static_cast<Number>(weight == 1 ? round : round / static_cast<double>(weight));
  }

  static bool is_ahead(Number a, Number b) { return static_cast<std::int64_t>(a - b) > 0; }

  /// Whose turn it is, and where it moves their place.
  struct Turn {
    std::size_t index;
    Number from;
    Number to;
  };

  /// The turn where all weights are equal. No list of places is made for it: it is by far the most frequent case.
  Turn turn_of_longest_waiting(std::span<ReplicaView const> eligible) {
    auto const stride = stride_of(weight_of(eligible.front()));
    Turn turn{0, places_.at(eligible.front().id).load(std::memory_order_relaxed), 0};
    auto front = turn.from;
    for (std::size_t i = 1; i < eligible.size(); ++i) {
      auto const at = places_.at(eligible[i].id).load(std::memory_order_relaxed);
      front = is_ahead(at, front) ? at : front;
      bool const waits_longer = is_ahead(turn.from, at);
      turn.index = waits_longer ? i : turn.index;
      turn.from = waits_longer ? at : turn.from;
    }
    turn.to = end_of(front, std::min(front - turn.from, stride), stride, stride);
    return turn;
  }

  /// The turn where weights differ.
  Turn turn_by_weight(std::span<ReplicaView const> eligible) {
    std::array<Place, 16> few;
    std::vector<Place> many;
    if (eligible.size() > few.size()) {
      many.resize(eligible.size());
    }
    auto const places = many.empty() ? std::span{few}.first(eligible.size()) : std::span{many};
    auto const field = survey(eligible, places);
    auto const index = first_due(places);
    auto const& chosen = places[index];
    return {index, chosen.at, end_of(field.front, chosen.behind, chosen.stride, field.longest)};
  }

  /// Where a turn ends that begins so far behind the foremost.
  static Number end_of(Number front, Number behind, Number stride, Number longest) {
    auto const end = front - behind + stride;
    // Distinct places keep the order of service; ties would let an early index go twice before a late one.
    return stride == longest ? std::max<Number>(end - front, 1) + front : end;
  }

  struct Place {
    Number at;
    Number behind;  // how far behind the foremost
    Number stride;
    Number weight;

    /// Whether the turn taken from here ends before the other's; of two that end together, the longer unserved.
    bool is_before(Place const& other) const {
      auto const lead = static_cast<std::int64_t>((stride - behind) - (other.stride - other.behind));
      return lead < 0 || (lead == 0 && static_cast<std::int64_t>(at - other.at) < 0);
    }
  };

  struct Field {
    Number front;
    Number longest;  // the stride of the least weight
  };

  Field survey(std::span<ReplicaView const> eligible, std::span<Place> places) {
    Field field{};
    for (std::size_t i = 0; i < eligible.size(); ++i) {
      auto const at = places_.at(eligible[i].id).load(std::memory_order_relaxed);
      auto const weight = weight_of(eligible[i]);
      auto const stride = stride_of(weight);
      places[i] = {at, 0, stride, weight};
      field.front = i == 0 || is_ahead(at, field.front) ? at : field.front;
      field.longest = std::max(field.longest, stride);
    }
    for (auto& place : places) {
      // One longest stride is the widest that the field gets by itself: whoever is further behind has been away.
      place.behind = std::min(field.front - place.at, field.longest);
    }
    return field;
  }

  /// Of those that are not ahead of the average, the one whose turn ends first. Taking simply the first end, or the
  /// first beginning, would serve a heavy replica several times in a row, and then all the light ones.
  static std::size_t first_due(std::span<Place> places) {
    constexpr auto unlimited = std::uint64_t{1} << 62;
    // Who comes back is far behind for its weight. It counts as one turn behind the others: one turn is due at once.
    auto const average = average_behind(places, average_behind(places, unlimited));
    auto first = places.size();
    for (std::size_t i = 0; i < places.size(); ++i) {
      auto& place = places[i];
      place.behind = std::min(place.behind, average + place.stride);
      bool const is_due = place.behind >= average;
      if (is_due && (first == places.size() || place.is_before(places[first]))) {
        first = i;
      }
    }
    return first;
  }

  /// The average, by weight, over the replicas that are behind by at most `limit` and one turn of their own.
  static std::uint64_t average_behind(std::span<Place const> places, std::uint64_t limit) {
    std::uint64_t sum = 0;
    std::uint64_t weights = 0;
    for (auto const& place : places) {
      if (place.behind <= limit + place.stride) {
        sum += place.weight * place.behind;
        weights += place.weight;
      }
    }
    return sum / std::max<std::uint64_t>(weights, 1);
  }

  PerReplica<Number> places_;
};

/// See `BasicRoundRobin`. Why it is a template: see `replica_router.hpp`.
using RoundRobin = BasicRoundRobin<std::uint64_t>;

}  // namespace replica_router
