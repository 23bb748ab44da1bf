#include "replica_router/cluster/read_terms.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>

namespace rr = replica_router;
using namespace std::chrono_literals;

TEST_CASE("a router's terms are its options") {
  rr::Options options;
  options.acquire_timeout = 7s;
  auto const plain = rr::terms_of(options);
  CHECK(plain.max_staleness == rr::Duration::max());
  CHECK(plain.deadline == 7s);
  CHECK(plain.wait_up_to == 0s);
  CHECK(plain.on_unmet == rr::OnUnmet::primary);
  CHECK(plain.monotonic == rr::MonotonicReads::off);
  CHECK(plain.mode == rr::ReadMode::autocommit);
  CHECK_FALSE(plain.at_least);

  options.max_staleness = 1s;
  options.wait_up_to = 2s;
  options.on_unmet = rr::OnUnmet::serve_stale;
  options.monotonic_reads = rr::MonotonicReads::on;
  auto const terms = rr::terms_of(options);
  CHECK(terms.max_staleness == 1s);
  CHECK(terms.wait_up_to == 2s);
  CHECK(terms.on_unmet == rr::OnUnmet::serve_stale);
  CHECK(terms.monotonic == rr::MonotonicReads::on);
}

TEST_CASE("what is given amends the terms, and what is left open stays as it is") {
  auto const session = rr::amended(rr::terms_of(rr::Options{}), rr::ReadOptions{.max_staleness = 1s,
                                                                                .at_least = rr::Token{7, 1, rr::Lsn{5}},
                                                                                .wait_up_to = 2s,
                                                                                .on_unmet = rr::OnUnmet::fail,
                                                                                .monotonic = rr::MonotonicReads::on,
                                                                                .snapshot = true,
                                                                                .deadline = 3s});
  auto const kept = rr::amended(session, rr::ReadOptions{});
  for (auto const& terms : {session, kept}) {
    CHECK(terms.max_staleness == 1s);
    CHECK(terms.at_least == rr::Token{7, 1, rr::Lsn{5}});
    CHECK(terms.wait_up_to == 2s);
    CHECK(terms.on_unmet == rr::OnUnmet::fail);
    CHECK(terms.monotonic == rr::MonotonicReads::on);
    CHECK(terms.mode == rr::ReadMode::snapshot);
    CHECK(terms.deadline == 3s);
  }

  auto const amended = rr::amended(session, rr::ReadOptions{.max_staleness = 9s,
                                                            .at_least = rr::Token{7, 1, rr::Lsn{6}},
                                                            .wait_up_to = 0s,
                                                            .on_unmet = rr::OnUnmet::primary,
                                                            .monotonic = rr::MonotonicReads::off,
                                                            .snapshot = false,
                                                            .deadline = 8s});
  CHECK(amended.max_staleness == 9s);
  CHECK(amended.at_least == rr::Token{7, 1, rr::Lsn{6}});
  CHECK(amended.wait_up_to == 0s);
  CHECK(amended.on_unmet == rr::OnUnmet::primary);
  CHECK(amended.monotonic == rr::MonotonicReads::off);
  CHECK(amended.mode == rr::ReadMode::autocommit);
  CHECK(amended.deadline == 8s);
}
