// What is done to the cluster? The faults that a database's worst day is made of, each made and mended again.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "chaos/ledger.hpp"
#include "support/fault_schedule.hpp"

namespace replica_router::chaos {

/// What a trouble works with.
struct Scene {
  testing::FaultStage& stage;
  std::size_t replica = 1;               ///< the one that was drawn
  std::chrono::milliseconds duration{};  ///< how long it lasts, as drawn
  /// Returns when a router sees all nodes well, fresh and in their roles.
  std::function<void()> wait_until_normal;
  /// What went wrong that the record alone does not show is said there.
  std::vector<std::string>& violations;

  /// Returns after the drawn duration.
  void pass_time() const;
};

/// A kind of trouble.
struct TroubleKind {
  std::string_view name;
  std::function<void(Scene const&)> make_and_mend;
  Settling settling = Settling::possible;
};

/// All of them.
std::vector<TroubleKind> trouble_kinds();

/// Draws kinds from a seed: each as often as any other, in an order that is new each time.
class TroubleDeck {
 public:
  struct Card {
    TroubleKind kind;
    std::size_t replica = 1;
    std::chrono::milliseconds pause_before{};
    std::chrono::milliseconds duration{};
  };

  TroubleDeck(std::uint64_t seed, std::vector<TroubleKind> kinds, std::size_t replicas);
  Card draw();

 private:
  std::mt19937_64 random_;
  std::vector<TroubleKind> kinds_;
  std::size_t replicas_;
  std::vector<std::size_t> order_;
};

}  // namespace replica_router::chaos
