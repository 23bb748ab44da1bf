// What has just changed? The difference between what was known of the nodes and what is, as events.
#pragma once

#include <string>
#include <utility>

#include "replica_router/observe/event_delivery.hpp"
#include "replica_router/observe/observer.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/cluster_facts.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// Tells the observer of nodes that change and of primaries that follow one another.
///
/// Thread safety: none; called under the cluster's lock.
template <class Delivery = EventDelivery<>>
class ChangeEvents {
 public:
  explicit ChangeEvents(Delivery const& events) : events_{events} {}

  /// A node's facts are replaced. `reason_of()` says why it is down or kept away; empty when all is well.
  template <class Reason>
  void node_changes(std::string const& name, NodeFacts const& before, NodeFacts const& after, TimePoint now,
                    Reason&& reason_of) const {
    if (before.health != after.health || before.role != after.role) {
      events_.post([&] {
        return NodeChangeEvent{now, name, before.health, after.health, before.role, after.role, reason_of()};
      });
    }
  }

  /// The cluster is known to be so from now on; `primary` is the primary's name, empty when there is none.
  void cluster_is(ClusterFacts const& facts, std::string const& primary, TimePoint now) {
    if (facts.primary == no_node) {
      if (lost_at_ == never) {
        lost_at_ = now;
      }
      return;
    }
    bool const is_other = primary != primary_ || facts.timeline != timeline_;
    if (is_other && !primary_.empty()) {
      auto const gap = lost_at_ == never ? Duration::zero() : now - lost_at_;
      events_.post([&] { return FailoverEvent{now, primary_, primary, timeline_, facts.timeline, gap}; });
    }
    primary_ = primary;
    timeline_ = facts.timeline;
    lost_at_ = never;
  }

 private:
  Delivery const& events_;
  std::string primary_;  // the last one known
  std::uint32_t timeline_ = 0;
  TimePoint lost_at_ = never;
};

}  // namespace replica_router
