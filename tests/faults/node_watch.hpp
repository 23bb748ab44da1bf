// What does the router make of a node by now? Waiting for it to see a fault, and seeing where reads go.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include "cluster_options.hpp"

namespace replica_router::testing {

/// Tells which server a statement ran on.
inline constexpr auto port_query = "SELECT inet_server_port()";

template <class Router>
void wait_until_health_is(Router& db, std::string const& name, Health wanted) {
  eventually(
      name + " is " + std::string{text_of(wanted)}, std::chrono::seconds{30},
      [&] { return node_of(db.status(), name).health == wanted; }, [&] { return db.status().text(); });
}

template <class Router>
void wait_until_down(Router& db, std::string const& name) {
  wait_until_health_is(db, name, Health::down);
}

template <class Router>
void wait_until_up(Router& db, std::string const& name) {
  wait_until_health_is(db, name, Health::up);
}

/// How many of so many reads went to each port.
template <class Router>
std::map<int, int> spread(Router& db, int reads) {
  std::map<int, int> out;
  for (int i = 0; i < reads; ++i) {
    ++out[db.read([](auto& tx) { return tx.template query_value<int>(port_query); })];
  }
  return out;
}

/// An endpoint of a node by its name, reached through another port.
inline Endpoint through(std::uint16_t port, ClusterNode const& node) {
  return {node.conninfo() + " port=" + std::to_string(port), {.name = node.name()}};
}

}  // namespace replica_router::testing
