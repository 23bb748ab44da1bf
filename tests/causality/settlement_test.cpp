#include "replica_router/causality/settlement.hpp"

#include <catch2/catch_test_macros.hpp>

namespace rr = replica_router;
using rr::LatestCheckpoint;
using rr::Lsn;
using rr::settled;
using rr::Settlement;

namespace {

constexpr rr::TransactionMark mark{100, Lsn{5000}};
constexpr LatestCheckpoint before_it{Lsn{4000}, Lsn{3900}, 90};
constexpr LatestCheckpoint restarted_before_it{Lsn{4000}, Lsn{4000}, 90};

}  // namespace

TEST_CASE("without a checkpoint since the transaction began no crash has come between: the server is believed") {
  for (auto const& checkpoint : {before_it, restarted_before_it}) {
    CHECK(settled("committed", mark, checkpoint) == Settlement::committed);
    CHECK(settled("aborted", mark, checkpoint) == Settlement::aborted);
    CHECK(settled("in progress", mark, checkpoint) == Settlement::in_progress);
  }
}

TEST_CASE("after a restart the server is believed where the id had survived it") {
  LatestCheckpoint const knows_it{Lsn{5000}, Lsn{5000}, 101};
  CHECK(settled("committed", mark, knows_it) == Settlement::committed);
  CHECK(settled("aborted", mark, knows_it) == Settlement::aborted);
}

TEST_CASE("an id that a crash has forgotten is another transaction's now, whatever is said of it") {
  LatestCheckpoint const lost_it{Lsn{5000}, Lsn{5000}, 100};
  CHECK(settled("committed", mark, lost_it) == Settlement::aborted);
  CHECK(settled("in progress", mark, lost_it) == Settlement::aborted);
  CHECK(settled("aborted", mark, lost_it) == Settlement::aborted);
}

TEST_CASE("after an ordinary checkpoint nobody knows whether a crash came before it") {
  LatestCheckpoint const ordinary{Lsn{7000}, Lsn{6000}, 120};
  CHECK(settled("committed", mark, ordinary) == Settlement::unknown);
  CHECK(settled("aborted", mark, ordinary) == Settlement::aborted);
  CHECK(settled("in progress", mark, ordinary) == Settlement::in_progress);
}

TEST_CASE("what the server no longer knows stays unknown") {
  CHECK(settled("", mark, before_it) == Settlement::unknown);
  CHECK(settled("", mark, {Lsn{7000}, Lsn{6000}, 120}) == Settlement::unknown);
}
