// What has become of reads and writes? Every route, retry and fallback, counted and told to the observer.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "replica_router/cluster/node.hpp"
#include "replica_router/observe/event_delivery.hpp"
#include "replica_router/observe/explanation.hpp"
#include "replica_router/observe/observer.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// Counts what happens to reads and writes since the router began, and tells the observer, if there is one.
///
/// Thread safety: all calls.
template <class Backend>
class RouteLog {
 public:
  RouteLog(std::shared_ptr<Observer> observer, Backend const& backend)
      : backend_{backend}, events_{std::move(observer)} {}

  /// A read or a write has its connection.
  void route(Operation operation, Node<Backend> const& node, Standing const& standing) const {
    events_.post([&] {
      auto const now = backend_.now();
      return RouteEvent{now, operation, node.endpoint.name, staleness_of(standing, now)};
    });
  }

  /// A read or a write is placed again because a node had failed it.
  void retry(Operation operation, Node<Backend> const& node, std::string const& reason) {
    retries_.fetch_add(1, std::memory_order_relaxed);
    events_.post([&] { return RetryEvent{backend_.now(), operation, node.endpoint.name, reason}; });
  }

  /// The primary serves a read.
  void fallback(Node<Backend> const& primary, FallbackReason reason) {
    fallbacks_.fetch_add(1, std::memory_order_relaxed);
    events_.post([&] { return FallbackEvent{backend_.now(), primary.endpoint.name, reason}; });
  }

  /// How often reads and writes were placed again.
  std::uint64_t retries() const { return retries_.load(std::memory_order_relaxed); }
  /// How many reads the primary served.
  std::uint64_t fallbacks() const { return fallbacks_.load(std::memory_order_relaxed); }
  /// Whoever is told; others post their events, too.
  EventDelivery<> const& events() const { return events_; }

 private:
  Backend const& backend_;
  std::atomic<std::uint64_t> retries_{0};
  std::atomic<std::uint64_t> fallbacks_{0};
  EventDelivery<> events_;
};

}  // namespace replica_router
