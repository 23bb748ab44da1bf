// What has this session written and read so far? The causal scope behind `session()`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/published.hpp"
#include "replica_router/topology/topology.hpp"

namespace replica_router {

/// What a session has seen: the position of its last commit, and which node its last read ran on.
struct CausalState {
  CausalPosition last_commit{};       ///< `at == never` while nothing was written
  TimePoint last_read_at = never;     ///< when the last read ended; `never` before the first
  NodeId last_read_node = no_node;    ///< where it ran
  std::uint32_t last_read_epoch = 0;  ///< that node's epoch then
  TimePoint read_before_at = never;   ///< when the last read on any other node had ended
};

/// One causal scope. Reading it takes no lock.
///
/// Thread safety: all calls.
class CausalScope {
 public:
  CausalScope() = default;
  CausalScope(CausalScope&& other) noexcept : state_{other.state_.read()} {}
  CausalScope& operator=(CausalScope&& other) noexcept {
    std::lock_guard guard{writing_};
    state_.publish(other.state_.read());
    return *this;
  }
  ~CausalScope() = default;

  /// What the session has seen.
  CausalState state() const { return state_.read(); }

  /// The session has written, or has learned of a write that it must see; `cluster` is what is known by now.
  void must_see(CausalPosition const& position, ClusterFacts const& cluster) {
    std::lock_guard guard{writing_};
    auto state = state_.read();
    state.last_commit = later_of(resolved(state.last_commit, cluster), position);
    state_.publish(state);
  }

  /// The session has read on a node; the read ended at `now`.
  void has_read(NodeId node, std::uint32_t epoch, TimePoint now) {
    std::lock_guard guard{writing_};
    auto state = state_.read();
    if (now >= state.last_read_at) {
      if (node != state.last_read_node || epoch != state.last_read_epoch) {
        state.read_before_at = state.last_read_at;
      }
      state.last_read_at = now;
      state.last_read_node = node;
      state.last_read_epoch = epoch;
      state_.publish(state);
    }
  }

 private:
  std::mutex writing_;
  Published<CausalState> state_;
};

}  // namespace replica_router
