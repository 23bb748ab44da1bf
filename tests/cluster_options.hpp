// How do tests reach the fixture's cluster? Options for it, and waiting until the router knows all of its nodes.
#pragma once

#include <chrono>
#include <string>

#include "replica_router/replica_router.hpp"
#include "support/cluster.hpp"
#include "support/eventually.hpp"

namespace replica_router::testing {

/// Options that name the nodes as the fixture does.
inline Options options_for(testing::Cluster& cluster) {
  Options out;
  out.primary = {cluster.primary().conninfo(), {.name = "primary"}};
  for (std::size_t i = 0; i < cluster.replica_count(); ++i) {
    out.replicas.push_back({cluster.replica(i).conninfo(), {.name = "replica-" + std::to_string(i + 1)}});
  }
  return out;
}

/// The status of one node. The name must be known.
inline NodeStatus node_of(Status const& status, std::string const& name) {
  for (auto const& node : status.nodes) {
    if (node.name == name) {
      return node;
    }
  }
  throw std::out_of_range{"no node named " + name + " in:\n" + status.text()};
}

/// Waits until a read without any contract can be served by every replica that the router was given.
template <class Router>
void wait_until_known(Router& db, std::size_t replicas) {
  eventually(
      "the router knows the primary and all replicas", std::chrono::seconds{15},
      [&] {
        std::size_t eligible = 0;
        auto const explanation = db.explain();
        for (auto const& node : explanation.nodes) {
          eligible += node.verdict == Verdict::eligible ? 1U : 0U;
        }
        db.read([](auto&) {});
        return eligible == replicas && !db.status().primary.empty();
      },
      [&] { return db.status().text(); });
}

}  // namespace replica_router::testing
