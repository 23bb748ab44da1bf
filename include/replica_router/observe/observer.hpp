// Who wants to know what the router does? The events, and the interface of whoever is told of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// What a lease is for.
enum class Operation : std::uint8_t { read, write };

/// A read or a write was given a connection.
struct RouteEvent {
  TimePoint at = never;
  Operation operation = Operation::read;
  std::string node;                      ///< the name of the node that serves it
  Duration staleness = Duration::max();  ///< a read's proven bound; `Duration::max()` when nothing is proven
};

/// A read or a write failed for its node's sake, and is run again.
struct RetryEvent {
  TimePoint at = never;
  Operation operation = Operation::read;
  std::string node;    ///< the name of the node that failed it
  std::string reason;  ///< in the server's or libpq's own words
};

/// Why the primary serves a read.
enum class FallbackReason : std::uint8_t {
  policy,     ///< the policy, or the contract, asks for the primary
  unproven,   ///< replicas are there, but none is proven to meet the read's contract
  no_replica  ///< no replica can be used
};

/// The word for it.
constexpr std::string_view text_of(FallbackReason reason) {
  switch (reason) {
    case FallbackReason::policy: return "asked for";
    case FallbackReason::unproven: return "no replica is proven to meet the contract";
    case FallbackReason::no_replica: break;
  }
  return "no replica can be used";
}

/// The primary serves a read.
struct FallbackEvent {
  TimePoint at = never;
  std::string node;  ///< the primary's name
  FallbackReason reason = FallbackReason::no_replica;
};

/// A node's health or role changed.
struct NodeChangeEvent {
  TimePoint at = never;
  std::string node;
  Health health_before = Health::unknown;
  Health health = Health::unknown;
  Role role_before = Role::unknown;
  Role role = Role::unknown;
  std::string reason;  ///< why it is down or kept away, where that is known
};

/// Writes go to another primary, or to the same one on a new timeline.
struct FailoverEvent {
  TimePoint at = never;
  std::string node_before;
  std::string node;
  std::uint32_t timeline_before = 0;
  std::uint32_t timeline = 0;
  Duration without_primary{};  ///< for how long no primary was known; zero when the new one appeared first
};

/// Any of them.
using Event = std::variant<RouteEvent, RetryEvent, FallbackEvent, NodeChangeEvent, FailoverEvent>;

/// Is told what the router does; every function does nothing unless it is overridden.
///
/// Events are told in their order by a thread of their own, so an observer neither blocks nor breaks a read or a write:
/// when it is slow events wait, up to 10,000 of them, and further ones are dropped; what it throws is caught. Both are
/// counted in `Status`. It may call the router. It must not own one: neither would ever end.
/// Thread safety: one call at a time. Lifetime: shared with the router; the end of the router waits for the last call.
class Observer {
 public:
  Observer() = default;
  Observer(Observer const&) = delete;
  Observer& operator=(Observer const&) = delete;
  virtual ~Observer() = default;

  virtual void on_route(RouteEvent const& /*event*/) {}
  virtual void on_retry(RetryEvent const& /*event*/) {}
  virtual void on_fallback(FallbackEvent const& /*event*/) {}
  virtual void on_node_change(NodeChangeEvent const& /*event*/) {}
  virtual void on_failover(FailoverEvent const& /*event*/) {}
};

}  // namespace replica_router
