#include "replica_router/routing_policy.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>

#include "replica_router/policies.hpp"

namespace rr = replica_router;
using rr::DemandingPolicy;
using rr::Freshness;
using rr::ReadRequest;
using rr::ReplicaView;
using rr::RoutingPolicy;

namespace {

using Eligible = std::span<ReplicaView const>;
using Choice = std::optional<std::size_t>;

struct Mine {
  Choice choose(ReadRequest const&, Eligible) { return 0; }
};
struct Constant {
  Choice choose(ReadRequest const&, Eligible) const { return 0; }
};
struct Static {
  static Choice choose(ReadRequest const&, Eligible) { return 0; }
};
struct Demanding : Mine {
  Freshness contract(ReadRequest const& read) { return {.as_of = read.now}; }
};

struct WithoutChoose {};
struct ReturnsIndex {
  std::size_t choose(ReadRequest const&, Eligible) { return 0; }
};
struct ReturnsInt {
  std::optional<int> choose(ReadRequest const&, Eligible) { return 0; }
};
struct TakesOnlyReplicas {
  Choice choose(Eligible) { return 0; }
};
struct ChangesReplicas {
  Choice choose(ReadRequest const&, std::span<ReplicaView>) { return 0; }
};
struct ChangesRequest {
  Choice choose(ReadRequest&, Eligible) { return 0; }
};
struct CannotMove : Mine {
  CannotMove() = default;
  CannotMove(CannotMove&&) = delete;
};
class ChoosesInPrivate {
  Choice choose(ReadRequest const&, Eligible) { return 0; }
};
struct DemandsABool : Mine {
  bool contract(ReadRequest const&) { return true; }
};

}  // namespace

TEST_CASE("a struct with one function is a policy") {
  STATIC_CHECK(RoutingPolicy<Mine>);
  STATIC_CHECK(RoutingPolicy<Constant>);
  STATIC_CHECK(RoutingPolicy<Static>);
  STATIC_CHECK(RoutingPolicy<Demanding>);
  STATIC_CHECK(DemandingPolicy<Demanding>);
  STATIC_CHECK_FALSE(DemandingPolicy<Mine>);
}

TEST_CASE("a wrong signature is not a policy") {
  STATIC_CHECK_FALSE(RoutingPolicy<WithoutChoose>);
  STATIC_CHECK_FALSE(RoutingPolicy<ReturnsIndex>);
  STATIC_CHECK_FALSE(RoutingPolicy<ReturnsInt>);
  STATIC_CHECK_FALSE(RoutingPolicy<TakesOnlyReplicas>);
  STATIC_CHECK_FALSE(RoutingPolicy<ChangesReplicas>);
  STATIC_CHECK_FALSE(RoutingPolicy<ChangesRequest>);
  STATIC_CHECK_FALSE(RoutingPolicy<CannotMove>);
  STATIC_CHECK_FALSE(RoutingPolicy<ChoosesInPrivate>);
  STATIC_CHECK_FALSE(RoutingPolicy<int>);
  STATIC_CHECK_FALSE(DemandingPolicy<DemandsABool>);
}

TEST_CASE("the library's policies are policies, and the decorators demand what they say") {
  STATIC_CHECK(RoutingPolicy<rr::RoundRobin>);
  STATIC_CHECK(RoutingPolicy<rr::Random>);
  STATIC_CHECK(RoutingPolicy<rr::LeastInFlight>);
  STATIC_CHECK(RoutingPolicy<rr::LeastLag>);
  STATIC_CHECK(RoutingPolicy<rr::LowestLatency>);
  STATIC_CHECK(RoutingPolicy<rr::AnyPolicy>);
  STATIC_CHECK(RoutingPolicy<rr::PreferZone<Mine>>);
  STATIC_CHECK(DemandingPolicy<rr::StickyAfterWrite<rr::RoundRobin>>);
  STATIC_CHECK(DemandingPolicy<rr::StickyAfterWrite<rr::AnyPolicy>>);
  STATIC_CHECK(DemandingPolicy<rr::WithinStaleness<Mine>>);
  STATIC_CHECK(DemandingPolicy<rr::PreferZone<rr::WithinStaleness<>>>);
  STATIC_CHECK_FALSE(DemandingPolicy<rr::RoundRobin>);
  STATIC_CHECK_FALSE(DemandingPolicy<rr::PreferZone<Mine>>);
}

TEST_CASE("what a policy demands is its contract, or nothing") {
  ReadRequest read;
  read.now = rr::TimePoint{std::chrono::seconds{3}};
  Mine mine;
  Demanding demanding;
  CHECK(rr::contract_of(mine, read).demands_nothing());
  CHECK(rr::contract_of(demanding, read).as_of == read.now);
}
