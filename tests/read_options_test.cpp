#include "replica_router/read_options.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <chrono>

namespace rr = replica_router;
using Catch::Matchers::Message;
using namespace std::chrono_literals;

TEST_CASE("read options are written with what differs") {
  rr::ReadOptions const plain{};
  CHECK_FALSE(plain.max_staleness);
  CHECK_FALSE(plain.at_least);
  CHECK_FALSE(plain.wait_up_to);
  CHECK_FALSE(plain.on_unmet);
  CHECK_FALSE(plain.monotonic);
  CHECK_FALSE(plain.snapshot);
  CHECK_FALSE(plain.deadline);
  CHECK_NOTHROW(validate(plain));
  CHECK_NOTHROW(validate(rr::ReadOptions{.max_staleness = 2s,
                                         .at_least = rr::Token{1, 2, rr::Lsn{3}},
                                         .wait_up_to = 0s,
                                         .on_unmet = rr::OnUnmet::fail,
                                         .monotonic = rr::MonotonicReads::on,
                                         .snapshot = true,
                                         .deadline = 1ms}));
}

TEST_CASE("read options out of range are refused by name, value and what is allowed") {
  CHECK_THROWS_MATCHES(validate(rr::ReadOptions{.max_staleness = 0ms}), rr::ConfigError,
                       Message("ReadOptions::max_staleness = 0ms: allowed is 1ms to 8760h"));
  CHECK_THROWS_MATCHES(validate(rr::ReadOptions{.wait_up_to = -1ms}), rr::ConfigError,
                       Message("ReadOptions::wait_up_to = -1ms: allowed is 0ms to 8760h"));
  CHECK_THROWS_MATCHES(validate(rr::ReadOptions{.deadline = 0ms}), rr::ConfigError,
                       Message("ReadOptions::deadline = 0ms: allowed is 1ms to 8760h"));
  CHECK_THROWS_AS(validate(rr::ReadOptions{.deadline = std::chrono::milliseconds::max()}), rr::ConfigError);
}
