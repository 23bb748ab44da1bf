// Did the node give a connection? One attempt to lease, with what its failure tells.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "replica_router/cluster/cluster.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/observe/explanation.hpp"
#include "replica_router/pool/begin_failure.hpp"

namespace replica_router {

/// The time that a caller has: since when it has waited, what time it is now, and until when it may wait.
struct Patience {
  TimePoint since = never;
  TimePoint now = never;
  TimePoint until = never;
};

/// Leases a connection of one node, which is in its `epoch` now; nothing when the node turned out to be unable, which
/// is put into `last_failure` and becomes a reason to probe it. One that takes longer to connect than a probe may is
/// probed meanwhile, over a new connection: so it is found to be down, and this caller set free, well before
/// `connect_timeout`. Throws: `PoolTimeout`, naming the node, when all its connections stayed out.
template <class Backend>
typename Pool<Backend>::Slot* try_lease(Cluster<Backend>& cluster, Node<Backend>& node, std::uint32_t epoch,
                                        Purpose purpose, Patience patience, std::string& last_failure) {
  auto const& backend = cluster.backend();
  auto const& options = cluster.options();
  auto const connect = [&](TimePoint latest) {
    auto doubtful_at = backend.now() + options.probe_timeout;
    auto const is_hopeless = [&] {
      if (backend.now() >= doubtful_at) {
        doubtful_at = TimePoint::max();
        cluster.suspect(node.id, Suspicion::no_new_connection);
      }
      return node.standing.read().verdict == Verdict::down;
    };
    return backend.connect(node.address, access_for(purpose), std::min(latest, backend.now() + options.connect_timeout),
                           is_hopeless);
  };
  try {
    return &node.pool.acquire(purpose, epoch, patience.now, patience.until, connect);
  } catch (ConnectFailure const& failure) {
    node.counters.refused.fetch_add(1, std::memory_order_relaxed);
    last_failure = node.endpoint.name + ": " + failure.what();
    if (failure.kind() == ProbeFailure::late) {
      cluster.suspect(node.id, Suspicion::no_new_connection);
    } else if (failure.kind() != ProbeFailure::too_many_connections) {
      cluster.suspect(node.id);
    }
  } catch (PoolInterrupted const& interrupted) {
    last_failure = node.endpoint.name + ": " + interrupted.what();
  } catch (PoolTimeout const& timeout) {
    throw PoolTimeout{"no connection to " + node.endpoint.name + " became free within " +
                      readable(patience.until - patience.since) + ": " + timeout.what()};
  }
  return nullptr;
}

}  // namespace replica_router
