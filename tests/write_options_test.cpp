#include "replica_router/write_options.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <chrono>

namespace rr = replica_router;
using Catch::Matchers::Message;
using namespace std::chrono_literals;

TEST_CASE("write options are written with what differs") {
  rr::WriteOptions const plain{};
  CHECK(plain.isolation == rr::Isolation::server_default);
  CHECK(plain.max_attempts == 1);
  CHECK_FALSE(plain.exactly_once);
  CHECK_FALSE(plain.deadline);
  CHECK_NOTHROW(validate(plain));
  CHECK_NOTHROW(validate(rr::WriteOptions{
      .isolation = rr::Isolation::serializable, .max_attempts = 1000, .exactly_once = true, .deadline = 1ms}));
}

TEST_CASE("write options out of range are refused by name, value and what is allowed") {
  CHECK_THROWS_MATCHES(validate(rr::WriteOptions{.max_attempts = 0}), rr::ConfigError,
                       Message("WriteOptions::max_attempts = 0: allowed is 1 to 1000"));
  CHECK_THROWS_AS(validate(rr::WriteOptions{.max_attempts = 1001}), rr::ConfigError);
  CHECK_THROWS_MATCHES(validate(rr::WriteOptions{.deadline = -5ms}), rr::ConfigError,
                       Message("WriteOptions::deadline = -5ms: allowed is 1ms to 8760h"));
  CHECK_THROWS_AS(validate(rr::WriteOptions{.deadline = std::chrono::milliseconds::max()}), rr::ConfigError);
}
