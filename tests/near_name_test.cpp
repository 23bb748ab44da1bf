#include "replica_router/near_name.hpp"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

using replica_router::detail::edits_between;
using replica_router::detail::near_name;

TEST_CASE("edits are counted") {
  CHECK(edits_between("", "") == 0);
  CHECK(edits_between("", "abc") == 3);
  CHECK(edits_between("abc", "") == 3);
  CHECK(edits_between("kitten", "sitting") == 3);
  CHECK(edits_between("sslmode", "sslmod") == 1);
  CHECK(edits_between("flaw", "lawn") == 2);
}

TEST_CASE("the nearest known name is found, and none where all are far") {
  std::vector<std::string> const known{"host", "hostaddr", "password", "port", "sslmode"};
  CHECK(near_name("sslmod", known) == "sslmode");
  CHECK(near_name("passwd", known) == "password");
  CHECK(near_name("hots", known).empty());
  CHECK(near_name("hosts", known) == "host");
  CHECK(near_name("hostadd", known) == "hostaddr");
  CHECK(near_name("", known).empty());
  CHECK(near_name("application", known).empty());
  CHECK(near_name(std::string(10'000'000, 'x'), known).empty());
}
