#include "consistency/judge.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <vector>

using namespace replica_router::consistency;

namespace {

constexpr int key = 3;
constexpr std::uint64_t mine = 1;
constexpr std::uint64_t another = 2;

Operation write(std::uint64_t session, std::int64_t began, std::int64_t ended, std::uint32_t version) {
  return {.kind = OperationKind::write,
          .outcome = Outcome::done,
          .session = session,
          .began = began,
          .ended = ended,
          .key = key,
          .versions = {version}};
}

Operation read(std::uint64_t session, std::int64_t began, std::int64_t ended, std::uint32_t version) {
  return {.kind = OperationKind::read,
          .outcome = Outcome::done,
          .session = session,
          .began = began,
          .ended = ended,
          .key = key,
          .versions = {version}};
}

Operation monotonic(Operation operation) {
  operation.is_monotonic = true;
  return operation;
}

Operation token(OperationKind kind, std::uint64_t session, std::int64_t began, std::int64_t ended, std::uint64_t id) {
  return {.kind = kind, .outcome = Outcome::done, .session = session, .began = began, .ended = ended, .id = id};
}

Judgement judge(std::vector<Operation> const& operations, std::uint32_t final_version = 1'000'000) {
  std::vector<std::uint32_t> const versions(key + 1, final_version);
  return Judge{}.judge(operations, versions);
}

std::uint64_t checks(Judgement const& judgement, Guarantee guarantee) {
  return judgement.checks[static_cast<std::size_t>(guarantee)];
}

std::uint64_t violations(Judgement const& judgement, Guarantee guarantee) {
  return judgement.violations[static_cast<std::size_t>(guarantee)];
}

}  // namespace

TEST_CASE("the judge: a session that misses its own acknowledged write is a violation") {
  auto const bad = judge({write(mine, 0, 10, 5), read(mine, 11, 12, 4)});
  CHECK(violations(bad, Guarantee::read_your_writes) == 1);
  REQUIRE(bad.examples.size() == 1);
  CHECK(bad.examples[0].required == 5);
  CHECK(bad.examples[0].seen == 4);
  CHECK(bad.examples[0].key == key);

  auto const good = judge({write(mine, 0, 10, 5), read(mine, 11, 12, 5), read(mine, 13, 14, 9)});
  CHECK(good.all_violations() == 0);
  CHECK(checks(good, Guarantee::read_your_writes) == 2);
}

TEST_CASE("the judge: what is not promised is not required") {
  auto failed = write(mine, 0, 10, 5);
  failed.outcome = Outcome::failed;
  auto in_doubt = write(mine, 0, 10, 5);
  in_doubt.outcome = Outcome::in_doubt;
  auto failed_read = read(mine, 11, 12, 4);
  failed_read.outcome = Outcome::failed;
  auto stale = read(mine, 11, 12, 4);
  stale.may_be_stale = true;
  CHECK(judge({failed, read(mine, 11, 12, 4)}).all_violations() == 0);
  CHECK(judge({in_doubt, read(mine, 11, 12, 4)}).all_violations() == 0);
  CHECK(judge({in_doubt, read(mine, 11, 12, 5)}).all_violations() == 0);
  CHECK(judge({write(mine, 0, 10, 5), failed_read}).all_violations() == 0);
  CHECK(judge({write(mine, 0, 10, 5), stale}).all_violations() == 0);
  CHECK(judge({write(another, 0, 10, 5), read(mine, 11, 12, 4)}).all_violations() == 0);
  // Acknowledged only when the read had begun, or at the same moment.
  CHECK(judge({write(mine, 0, 10, 5), read(mine, 9, 12, 4)}).all_violations() == 0);
  CHECK(judge({write(mine, 0, 10, 5), read(mine, 10, 12, 4)}).all_violations() == 0);
}

TEST_CASE("the judge: monotonic reads, where both asked for it") {
  CHECK(violations(judge({monotonic(read(mine, 0, 1, 7)), monotonic(read(mine, 2, 3, 6))}), Guarantee::monotonic) == 1);
  CHECK(judge({monotonic(read(mine, 0, 1, 7)), monotonic(read(mine, 2, 3, 7))}).all_violations() == 0);
  CHECK(judge({read(mine, 0, 1, 7), read(mine, 2, 3, 6)}).all_violations() == 0);
  CHECK(judge({monotonic(read(mine, 0, 1, 7)), monotonic(read(another, 2, 3, 6))}).all_violations() == 0);
  // They overlap: neither is the earlier.
  CHECK(judge({monotonic(read(mine, 0, 5, 7)), monotonic(read(mine, 2, 3, 6))}).all_violations() == 0);
}

TEST_CASE("the judge: a lease's bound is held against the truth") {
  auto lease = read(mine, 100, 110, 4);
  lease.bound = 20;
  CHECK(violations(judge({write(another, 50, 60, 5), lease}), Guarantee::lease_bound) == 1);
  CHECK(judge({write(another, 50, 80, 5), lease}).all_violations() == 0);
  CHECK(judge({write(another, 50, 60, 4), write(another, 70, 90, 5), lease}).all_violations() == 0);
  // Acknowledged in another order than committed: the highest counts.
  CHECK(violations(judge({write(another, 50, 60, 5), write(mine, 40, 70, 3), lease}), Guarantee::lease_bound) == 1);
  lease.may_be_stale = true;
  CHECK(violations(judge({write(another, 50, 60, 5), lease}), Guarantee::lease_bound) == 1);
  lease.bound = -1;
  CHECK(judge({write(another, 50, 60, 5), lease}).all_violations() == 0);
}

TEST_CASE("the judge: the limit that a read asked for is held against the truth") {
  auto limited = read(mine, 100, 110, 4);
  limited.max_staleness = 30;
  CHECK(violations(judge({write(another, 50, 60, 5), limited}), Guarantee::max_staleness) == 1);
  CHECK(judge({write(another, 50, 71, 5), limited}).all_violations() == 0);
}

TEST_CASE("the judge: a token carries what its session had to see, also what that had from other tokens") {
  auto const issued = token(OperationKind::token_issued, mine, 11, 12, 77);
  auto const observed = token(OperationKind::token_observed, another, 20, 21, 77);
  auto const written = write(mine, 0, 10, 5);
  CHECK(violations(judge({written, issued, observed, read(another, 22, 23, 4)}), Guarantee::token) == 1);
  CHECK(judge({written, issued, observed, read(another, 22, 23, 5)}).all_violations() == 0);
  CHECK(judge({written, issued, observed, read(another, 20, 23, 4)}).all_violations() == 0);
  auto refused = observed;
  refused.outcome = Outcome::failed;
  CHECK(judge({written, issued, refused, read(another, 22, 23, 4)}).all_violations() == 0);

  constexpr std::uint64_t third = 3;
  auto const passed_on = token(OperationKind::token_issued, another, 30, 31, 78);
  auto const taken = token(OperationKind::token_observed, third, 40, 41, 78);
  CHECK(violations(judge({written, issued, observed, passed_on, taken, read(third, 50, 51, 4)}), Guarantee::token) ==
        1);

  auto at_least = read(another, 22, 23, 4);
  at_least.id = 77;
  CHECK(violations(judge({written, issued, at_least}), Guarantee::token) == 1);
  // A write after the token was issued is none of its business.
  CHECK(judge({issued, write(mine, 12, 13, 5), at_least}).all_violations() == 0);
}

TEST_CASE("the judge: an acknowledged write that is gone is a violation") {
  CHECK(violations(judge({write(mine, 0, 10, 5)}, 4), Guarantee::durability) == 1);
  CHECK(judge({write(mine, 0, 10, 5)}, 5).all_violations() == 0);
  CHECK(violations(judge({write(mine, 0, 10, 5), write(another, 20, 30, 5)}), Guarantee::durability) == 1);
}

TEST_CASE("the judge counts one check for each key and floor, and keeps the first few violations of each kind") {
  std::vector<Operation> history{write(mine, 0, 10, 5)};
  auto several = read(mine, 11, 12, 5);
  several.versions = {4, 9, 9};
  for (int i = 0; i < 10; ++i) {
    history.push_back(several);
  }
  auto const judgement = judge(history);
  CHECK(checks(judgement, Guarantee::read_your_writes) == 10);
  CHECK(violations(judgement, Guarantee::read_your_writes) == 10);
  CHECK(judgement.examples.size() == 3);
  several.key = key + 1;
  CHECK(checks(judge({write(mine, 0, 10, 5), several}), Guarantee::read_your_writes) == 0);
}
