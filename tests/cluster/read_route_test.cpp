#include "replica_router/cluster/read_route.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "replica_router/policies/random.hpp"
#include "replica_router/policies/round_robin.hpp"
#include "replica_router/router.hpp"
#include "simulation/simulated_cluster.hpp"

namespace rr = replica_router;
namespace sim = replica_router::simulation;
using namespace std::chrono_literals;

namespace {

/// A policy that always says "the primary".
struct OnlyPrimary {
  std::optional<std::size_t> choose(rr::ReadRequest const&, std::span<rr::ReplicaView const>) { return std::nullopt; }
};

std::shared_ptr<sim::World> world_with_one_replica() {
  auto world = std::make_shared<sim::World>();
  (*world)["primary"].is_in_recovery = false;
  (*world)["replica"].is_in_recovery = true;
  return world;
}

rr::Options options() {
  rr::Options out;
  out.primary = {"host=primary", {.name = "primary"}};
  out.replicas = {{"host=replica", {.name = "replica"}}};
  return out;
}

}  // namespace

TEST_CASE("what is explained is what a read gets, also where the policy says the primary") {
  auto const world = world_with_one_replica();
  rr::ReplicaRouter<OnlyPrimary, sim::Backend> db{options(), {}, sim::Backend{world}};
  world->advance(1s);
  auto const served_by = std::string{db.read().served_by()};
  CHECK(served_by == "primary");
  CHECK(db.explain().chosen == served_by);
}

TEST_CASE("what is explained is what a read gets, also where the policy says the primary rather than stale data") {
  auto const world = world_with_one_replica();
  rr::ReplicaRouter<OnlyPrimary, sim::Backend> db{options(), {}, sim::Backend{world}};
  (*world)["replica"].is_paused = true;
  world->advance(1s);
  world->write("primary");
  world->advance(1s);
  rr::ReadOptions read;
  read.max_staleness = 500ms;
  read.on_unmet = rr::OnUnmet::serve_stale;
  auto const served_by = std::string{db.read(read).served_by()};
  CHECK(served_by == "primary");
  CHECK(db.explain(read).chosen == served_by);
}

TEST_CASE("replicas that warm up serve all reads where there are no others, and the primary none") {
  auto const world = world_with_one_replica();
  auto slow = options();
  slow.warm_up = 1h;
  rr::ReplicaRouter<rr::RoundRobin, sim::Backend> db{slow, {}, sim::Backend{world}};
  world->advance(1s);
  (*world)["replica"].is_running = false;
  world->advance(3s);
  REQUIRE(db.read().served_by() == "primary");
  (*world)["replica"].is_running = true;
  ++(*world)["replica"].generation;
  world->advance(1min);
  for (int i = 0; i < 50; ++i) {
    CHECK(db.read().served_by() == "replica");
  }
  CHECK(db.explain().chosen == "replica");
}

TEST_CASE("what is explained is what a read gets, also while a replica warms up") {
  auto const world = world_with_one_replica();
  (*world)["other"].is_in_recovery = true;
  auto slow = options();
  slow.replicas.push_back({"host=other", {.name = "other"}});
  slow.warm_up = 24h;
  rr::ReplicaRouter<rr::Random, sim::Backend> db{slow, {}, sim::Backend{world}};
  world->advance(1s);
  (*world)["other"].is_running = false;
  world->advance(3s);
  (*world)["other"].is_running = true;
  ++(*world)["other"].generation;
  world->advance(1min);
  int read_there = 0;
  int explained_there = 0;
  for (int i = 0; i < 100; ++i) {
    read_there += db.read().served_by() == "other" ? 1 : 0;
    explained_there += db.explain().chosen == "other" ? 1 : 0;
  }
  CHECK(read_there < 25);  // half of them, were it warm
  CHECK(explained_there < 25);
}
