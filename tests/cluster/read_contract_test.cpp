#include "replica_router/cluster/read_contract.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>

namespace rr = replica_router;
using rr::CausalPosition;
using rr::CausalState;
using rr::Duration;
using rr::Freshness;
using rr::Lsn;
using rr::MonotonicReads;
using rr::OnUnmet;
using rr::Options;
using rr::Placement;
using rr::ReadOptions;
using rr::TimePoint;
using namespace std::chrono_literals;

namespace {

constexpr TimePoint now = TimePoint{} + 1h;

/// A policy that demands what it is told to.
struct Demanding {
  Freshness demand;
  static std::optional<std::size_t> choose(rr::ReadRequest const&, std::span<rr::ReplicaView const>) { return 0; }
  Freshness contract(rr::ReadRequest const&) const { return demand; }
};

rr::ReadContract contract_for(ReadOptions const& read, Options const& defaults, Freshness const& policy_demand,
                              CausalState const& session, TimePoint began_at = now) {
  Demanding policy{policy_demand};
  return rr::contract_for(rr::amended(rr::terms_of(defaults), read), policy, {.now = began_at}, session);
}

/// What a session has seen that read on one node, a while ago.
CausalState having_read(rr::NodeId node, std::uint32_t epoch, TimePoint moment) {
  CausalState out;
  out.last_read_node = node;
  out.last_read_epoch = epoch;
  out.last_read_at = moment;
  return out;
}

}  // namespace

TEST_CASE("a read that asks for nothing demands nothing of any node") {
  auto const contract = contract_for({}, {}, {}, {});
  CHECK(contract.demand.demands_nothing());
  CHECK(contract.strictest().demands_nothing());
  CHECK(contract.demands_nothing());
  CHECK(contract.on_unmet == OnUnmet::primary);
  CHECK(contract.wait_up_to == 0s);
  CHECK(contract.monotonic == MonotonicReads::off);
}

TEST_CASE("what a read does not say is the router's default") {
  Options defaults;
  defaults.max_staleness = 7s;
  defaults.on_unmet = OnUnmet::fail;
  defaults.wait_up_to = 3s;
  defaults.monotonic_reads = MonotonicReads::on;
  auto const contract = contract_for({}, defaults, {}, {});
  CHECK(contract.demand.as_of == now - 7s);
  CHECK(contract.on_unmet == OnUnmet::fail);
  CHECK(contract.wait_up_to == 3s);
  CHECK(contract.monotonic == MonotonicReads::on);
}

TEST_CASE("what a read says rules over the default, stricter or not") {
  Options defaults;
  defaults.max_staleness = 7s;
  defaults.on_unmet = OnUnmet::fail;
  defaults.wait_up_to = 3s;
  defaults.monotonic_reads = MonotonicReads::on;
  ReadOptions read;
  read.max_staleness = 1min;
  read.on_unmet = OnUnmet::serve_stale;
  read.wait_up_to = 0ms;
  read.monotonic = MonotonicReads::off;
  auto const contract = contract_for(read, defaults, {}, having_read(1, 1, now - 1s));
  CHECK(contract.demand.as_of == now - 1min);
  CHECK(contract.strictest() == contract.demand);
  CHECK(contract.on_unmet == OnUnmet::serve_stale);
  CHECK(contract.wait_up_to == 0s);
  CHECK(contract.monotonic == MonotonicReads::off);
}

TEST_CASE("the policy's demand is joined, and the stricter counts") {
  Freshness const policy{{Lsn{500}, 1, now - 1min}, now - 2s, Placement::primary_only};
  ReadOptions read;
  read.max_staleness = 10s;
  auto contract = contract_for(read, {}, policy, {});
  CHECK(contract.demand == policy);
  read.max_staleness = 1s;
  contract = contract_for(read, {}, policy, {});
  CHECK(contract.demand.as_of == now - 1s);
  CHECK(contract.demand.position == policy.position);
  CHECK(contract.demand.placement == Placement::primary_only);
}

TEST_CASE("the longest staleness that may be asked for is still a moment") {
  ReadOptions read;
  read.max_staleness = rr::longest_wait;
  auto const contract = contract_for(read, {}, {}, {}, TimePoint{} + 1s);
  CHECK(contract.demand.as_of != rr::never);
  CHECK(contract.demand.as_of < TimePoint{});
}

TEST_CASE("a token given with the read is a commit before now") {
  ReadOptions read;
  read.at_least = rr::Token{77, 3, Lsn{900}};
  auto contract = contract_for(read, {}, {}, {});
  CHECK(contract.demand.position == CausalPosition{Lsn{900}, 3, now});
  contract = contract_for(read, {}, {{Lsn{950}, 3, now - 1s}}, {});
  CHECK(contract.demand.position == CausalPosition{Lsn{950}, 3, now});
}

TEST_CASE("under monotonic reads another node must have what the session has read") {
  ReadOptions read;
  read.monotonic = MonotonicReads::on;
  auto const contract = contract_for(read, {}, {}, having_read(4, 7, now - 1s));
  CHECK(contract.demand_of(4, 7).demands_nothing());
  CHECK_FALSE(contract.demands_nothing());  // of another node something is
  CHECK(contract.demand_of(5, 7).as_of == now - 1s);
  CHECK(contract.demand_of(4, 8).as_of == now - 1s);  // no longer what it was
}

TEST_CASE("under monotonic reads a stricter demand stands everywhere") {
  ReadOptions read;
  read.monotonic = MonotonicReads::on;
  read.max_staleness = 100ms;
  auto const contract = contract_for(read, {}, {}, having_read(4, 7, now - 1s));
  CHECK(contract.demand_of(4, 7).as_of == now - 100ms);
  CHECK(contract.demand_of(5, 7).as_of == now - 100ms);
}

TEST_CASE("under monotonic reads the last node, too, must have what was read elsewhere before") {
  ReadOptions read;
  read.monotonic = MonotonicReads::on;
  rr::CausalScope scope;
  scope.has_read(4, 7, now - 3s);
  scope.has_read(5, 7, now - 2s);  // begun before the other had ended, so it may be older
  auto const contract = contract_for(read, {}, {}, scope.state());
  CHECK(contract.demand_of(5, 7).as_of == now - 3s);
  CHECK(contract.demand_of(4, 7).as_of == now - 2s);
}

TEST_CASE("without monotonic reads, or before the first one, every node is alike") {
  ReadOptions read;
  CHECK(contract_for(read, {}, {}, having_read(4, 7, now)).last_node == rr::no_node);
  read.monotonic = MonotonicReads::on;
  auto const contract = contract_for(read, {}, {}, {});
  CHECK(contract.last_node == rr::no_node);
  CHECK(contract.strictest().demands_nothing());
}
