// Who keeps the evidence fresh? The loop that probes all nodes and acts on what it learns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/cluster/cluster.hpp"

namespace replica_router {

/// Probes the nodes when they are due and turns answers into evidence. The backend decides on which thread it runs.
///
/// Thread safety: `step` belongs to one thread; `wake` may be called from any.
template <class Backend>
class Monitor {
 public:
  Monitor(Cluster<Backend>& cluster, Backend const& backend)
      : cluster_{cluster}, backend_{backend}, prober_{backend.make_prober()} {
    cluster_.on_wake([this] { wake(); });
  }
  Monitor(Monitor const&) = delete;
  Monitor& operator=(Monitor const&) = delete;
  ~Monitor() {
    cluster_.on_wake([] {});
  }

  /// Asks whoever is due, waits for the next thing to happen, at most until `until`, and takes it in.
  void step(TimePoint until) {
    auto const& options = cluster_.options();
    auto const now = backend_.now();
    auto next = std::min(until, now + std::chrono::seconds{1});
    std::vector<NodeId> due;
    std::vector<NodeId> dropped;
    cluster_.schedule([&](auto& topology) {
      cluster_.take_in_demands(topology);
      for (NodeId id = 0; id < topology.size(); ++id) {
        auto const at = topology.due(id, now);
        if (!topology.is_member(id)) {
          dropped.push_back(id);
        } else if (at <= now) {
          if (topology.must_reconnect(id)) {
            dropped.push_back(id);
          }
          topology.asked(id, now);
          due.push_back(id);
        } else {
          next = std::min(next, at);
        }
      }
      cluster_.sleeps_until(next);  // under the lock: whoever nudges later sees it, and wakes us
    });
    for (auto const id : dropped) {
      prober_.forget(id);
    }
    for (auto const id : due) {
      if (auto const* node = cluster_.node(id)) {
        prober_.ask(id, node->address, now, now + options.probe_timeout, options.probe_interval);
      }
    }
    auto const events = prober_.wait(next);
    if (!events.empty()) {
      take_in(events);
    }
    reap();
  }

  /// What the loop runs on.
  Backend const& backend() const { return backend_; }

  /// Makes the loop look again at what is due.
  void wake() { prober_.wake(); }

 private:
  void take_in(std::vector<ProbeEvent> const& events) {
    std::vector<NodeId> gone_down;
    std::vector<NodeId> silenced;
    auto const now = backend_.now();
    cluster_.update([&](auto& topology) {
      for (auto const& event : events) {
        if (!topology.is_member(event.node)) {
          continue;
        }
        if (!event.failure) {
          topology.answered(event.node, event.answer, now);
          cluster_.set_reason(event.node, {});
          continue;
        }
        bool const was_up = topology.facts(event.node).health == Health::up;
        topology.failed(event.node, *event.failure, now, backend_.entropy());
        cluster_.set_reason(event.node, event.reason);
        if (topology.facts(event.node).health == Health::down) {
          silenced.push_back(event.node);
          if (was_up) {
            gone_down.push_back(event.node);
          }
        }
      }
    });
    for (auto const id : silenced) {
      prober_.forget(id);
    }
    for (auto const id : gone_down) {
      if (auto* node = cluster_.node(id)) {
        node->counters.ejections.fetch_add(1, std::memory_order_relaxed);
        node->pool.abort_leased();
      }
    }
  }

  /// Closes, about once a second, what has been idle or alive for too long.
  void reap() {
    auto const now = backend_.now();
    if (now - reaped_at_ < std::chrono::seconds{1}) {
      return;
    }
    reaped_at_ = now;
    for (auto* node : cluster_.nodes()) {
      if (node != nullptr) {
        node->pool.reap(node->standing.read().epoch);
      }
    }
  }

  Cluster<Backend>& cluster_;
  Backend const& backend_;
  typename Backend::Prober prober_;
  TimePoint reaped_at_ = TimePoint{};
};

}  // namespace replica_router
