#include "replica_router/endpoint.hpp"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

namespace rr = replica_router;

TEST_CASE("an endpoint is written as a string, or as a string with traits") {
  std::string const from_elsewhere{"host=db-1"};
  std::vector<rr::Endpoint> const endpoints{"host=db-0",
                                            from_elsewhere,
                                            {"host=db-2", {.name = "db-2", .weight = 2, .zone = "eu"}},
                                            {"host=db-3", {.zone = "us"}}};
  REQUIRE(endpoints.size() == 4);
  CHECK(endpoints[0].conninfo == "host=db-0");
  CHECK(endpoints[0].name.empty());
  CHECK(endpoints[0].weight == 1);
  CHECK(endpoints[0].zone.empty());
  CHECK(endpoints[1].conninfo == "host=db-1");
  CHECK(endpoints[2].conninfo == "host=db-2");
  CHECK(endpoints[2].name == "db-2");
  CHECK(endpoints[2].weight == 2);
  CHECK(endpoints[2].zone == "eu");
  CHECK(endpoints[3].name.empty());
  CHECK(endpoints[3].weight == 1);
  CHECK(endpoints[3].zone == "us");
}

TEST_CASE("a list of one or two strings is a list of endpoints") {
  std::vector<rr::Endpoint> const one = {"host=db-1"};
  std::vector<rr::Endpoint> const two = {"host=db-1", "host=db-2"};
  CHECK(one.size() == 1);
  REQUIRE(two.size() == 2);
  CHECK(two[1].conninfo == "host=db-2");
}
