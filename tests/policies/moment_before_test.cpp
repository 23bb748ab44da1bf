#include "replica_router/policies/moment_before.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>

namespace rr = replica_router;
using rr::moment_before;
using rr::TimePoint;
using namespace std::chrono_literals;

TEST_CASE("going back in time stops at its beginning") {
  CHECK(moment_before(TimePoint{5s}, 2s) == TimePoint{3s});
  CHECK(moment_before(TimePoint{5s}, 0s) == TimePoint{5s});
  CHECK(moment_before(TimePoint{1s}, 3s) == TimePoint{-2s});
  CHECK(moment_before(rr::never, 0s) == rr::never);
  CHECK(moment_before(rr::never, 1ns) == rr::never);
  CHECK(moment_before(rr::never + 5ns, 4ns) == rr::never + 1ns);
  CHECK(moment_before(rr::never + 5ns, 6ns) == rr::never);
  CHECK(moment_before(TimePoint{-2s}, rr::Duration::max()) == rr::never);
  CHECK(moment_before(TimePoint::max(), rr::Duration::max()) == TimePoint{});
}
