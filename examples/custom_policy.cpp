// A routing policy of one's own: one replica is a canary (it tries out a new PostgreSQL, say) and gets one read in
// twenty.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <iterator>
#include <map>
#include <optional>
#include <pqxx/pqxx>
#include <replica_router/replica_router.hpp>
#include <span>
#include <string>
#include <thread>

namespace rr = replica_router;
using namespace std::chrono_literals;

/// Sends `percent` of the reads to one replica, and spreads the others evenly over the others.
struct Canary {
  std::string name;
  unsigned percent;

  /// All that a policy must have. It is shown only replicas that may serve this read: while the canary is down it is
  /// not among them. Returning nothing means "the primary". Random bits come with each request, so no generator is
  /// needed.
  std::optional<std::size_t> choose(rr::ReadRequest const& request, std::span<rr::ReplicaView const> eligible) const {
    auto const found = std::ranges::find(eligible, name, &rr::ReplicaView::name);
    auto const canary = static_cast<std::size_t>(found - eligible.begin());  // past the end: not eligible now
    auto const others = eligible.size() - (found == eligible.end() ? 0 : 1);
    bool const is_for_canary = found != eligible.end() && (others == 0 || request.entropy % 100 < percent);
    if (is_for_canary) {
      return canary;
    }
    auto const other = (request.entropy >> 16U) % others;
    return other < canary ? other : other + 1;
  }

  /// What a policy may have besides, its demand: data at most five seconds old. A replica that is not proven to meet it
  /// is not shown to `choose`.
  rr::Freshness contract(rr::ReadRequest const& request) const { return {.as_of = request.now - 5s}; }

  /// What `status()` and messages call it.
  std::string text() const { return fmt::format("canary({}, {} %)", name, percent); }
};

/// A router serves at once, with whatever has answered. This waits, ten seconds at most, until every replica may serve,
/// so that the shares counted below are the policy's doing alone.
template <class Router>
void wait_for_all_replicas(Router const& db) {
  for (int tries = 0; tries < 1'000; ++tries) {
    auto const nodes = db.explain().nodes;
    if (std::ranges::count(nodes, rr::Verdict::eligible, &rr::NodeExplanation::verdict) + 1 == std::ssize(nodes)) {
      return;
    }
    std::this_thread::sleep_for(10ms);
  }
}

int main() try {
  auto options = rr::Options::from_environment();
  if (options.replicas.size() < 2) {
    fmt::print(stderr, "custom_policy: set REPLICA_ROUTER_REPLICAS to two connection strings, with a ; between them\n");
    return 2;
  }
  options.replicas.front().name = "canary";

  // It goes into the library's own policies like any other.
  rr::ReplicaRouter db{options, rr::StickyAfterWrite{Canary{"canary", 5}}};

  wait_for_all_replicas(db);
  constexpr int reads = 4'000;
  std::map<std::string, int> served;
  for (int i = 0; i < reads; ++i) {
    auto const lease = db.read();
    lease->exec("SELECT 1");
    ++served[std::string{lease.served_by()}];
  }

  fmt::print("policy: {}\n", db.status().policy);
  for (auto const& [node, count] : served) {
    fmt::print("{:<20} {:>5} reads, {:>4.1f} %\n", node, count, 100.0 * count / reads);
  }
  auto const share = 100.0 * served["canary"] / reads;
  return share > 3 && share < 7 ? 0 : 1;
} catch (std::exception const& error) {
  fmt::print(stderr, "custom_policy: {}\n", error.what());
  return 1;
}
