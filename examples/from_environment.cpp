// Everything from the environment: nodes, knobs and the policy. Prints what the router knows and what it would do.
//
//     REPLICA_ROUTER_PRIMARY="host=db-1 dbname=shop"
//     REPLICA_ROUTER_REPLICAS="host=db-2 dbname=shop;host=db-3 dbname=shop"
//     REPLICA_ROUTER_POLICY="sticky(least-lag(tolerance=200ms))"
//     REPLICA_ROUTER_MAX_LAG=10s
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <pqxx/pqxx>
#include <replica_router/replica_router.hpp>
#include <thread>

namespace rr = replica_router;
using namespace std::chrono_literals;

/// What the router knows once each node has answered or is known to be down; after five seconds, what it knows by then.
template <class Router>
rr::Status first_full_status(Router const& db) {
  auto const give_up_at = std::chrono::steady_clock::now() + 5s;
  for (;;) {
    auto status = db.status();
    bool const is_full = std::ranges::none_of(
        status.nodes, [](rr::NodeStatus const& node) { return node.health == rr::Health::unknown; });
    if (is_full || std::chrono::steady_clock::now() > give_up_at) {
      return status;
    }
    std::this_thread::sleep_for(10ms);
  }
}

int main() try {
  auto const options = rr::Options::from_environment();
  rr::ReplicaRouter db{options, rr::AnyPolicy::from_environment()};

  // The router was ready at once, with whatever answers; this waits only so that there is more to print.
  auto const status = first_full_status(db);
  auto const explanation = db.explain();
  fmt::print("policy {}, max_lag {}\n{}\n\n{}\n", status.policy, rr::readable(options.max_lag), status.text(),
             explanation.text());

  auto const count = [&](rr::Role role) { return std::ranges::count(status.nodes, role, &rr::NodeStatus::role); };
  bool const is_writable = count(rr::Role::primary) == 1;
  bool const is_read_placed_well = count(rr::Role::replica) == 0 || explanation.chosen != status.primary;
  return is_writable && is_read_placed_well ? 0 : 1;
} catch (std::exception const& error) {
  fmt::print(stderr, "from_environment: {}\n", error.what());
  return 1;
}
