#include "replica_router/policies/description.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rr = replica_router;
using rr::ReadRequest;
using rr::ReplicaView;

namespace {

struct Nameless {
  std::optional<std::size_t> choose(ReadRequest const&, std::span<ReplicaView const>) { return 0; }
};

struct Named : Nameless {
  static std::string_view name() { return "mine"; }
};

struct Written : Named {
  static std::string text() { return "mine(well)"; }
};

struct Demanding : Nameless {
  rr::Freshness contract(ReadRequest const&) { return {}; }
};

struct Modest : Demanding {
  static bool demands_freshness() { return false; }
};

}  // namespace

TEST_CASE("a policy is called by its text, else its name, else custom") {
  CHECK(rr::text_of(Nameless{}) == "custom");
  CHECK(rr::text_of(Named{}) == "mine");
  CHECK(rr::text_of(Written{}) == "mine(well)");
}

TEST_CASE("a policy with a contract demands freshness, unless it says that it does not") {
  CHECK_FALSE(rr::demands_freshness(Nameless{}));
  CHECK(rr::demands_freshness(Demanding{}));
  CHECK_FALSE(rr::demands_freshness(Modest{}));
}
