#include "replica_router/cluster/token_desk.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "cluster/scripted_backend.hpp"

namespace rr = replica_router;
using rr::CausalPosition;
using rr::Duration;
using rr::Lsn;
using rr::TokenVerdict;
using rr::testing::ours;
using rr::testing::Script;
using rr::testing::ScriptedBackend;
using rr::testing::theirs;
using namespace std::chrono_literals;

namespace {

/// A desk over a primary and a replica.
struct Rig {
  Script script;
  ScriptedBackend backend{script};
  rr::Cluster<ScriptedBackend> cluster{rr::testing::options_for(1), backend};
  rr::TokenDesk<ScriptedBackend> desk{cluster, backend};

  void sample(Lsn position, std::uint32_t timeline = 1, std::uint64_t system = ours) {
    rr::testing::answer(cluster, 0, rr::testing::told(false, position, script.now, timeline, system));
  }
  void primary_goes_down() {
    cluster.update([&](auto& topology) {
      topology.asked(0, script.now);
      topology.failed(0, rr::ProbeFailure::refused, script.now, 0);
    });
  }
  /// From now on the primary is sampled whenever somebody waits for it.
  void samples_when_waited_for(Lsn position, std::uint32_t timeline = 1) {
    script.on_wait = [this, position, timeline] { sample(position, timeline); };
  }
  TokenVerdict verdict(std::string const& text) { return desk.judge(text).verdict; }
  CausalPosition position(std::string const& text) { return desk.judge(text).position; }
  /// How long the judgement of a token takes.
  Duration time_for(std::string const& text) {
    auto const before = script.now;
    static_cast<void>(desk.judge(text));
    return script.now - before;
  }
};

std::string token(Lsn lsn, std::uint32_t timeline = 1, std::uint64_t system = ours) {
  return rr::Token{system, timeline, lsn}.text();
}

}  // namespace

TEST_CASE("a session that has written nothing has an empty token, and an empty token is nothing to see") {
  Rig rig;
  CHECK(rig.desk.issue({}).empty());
  CHECK(rig.verdict("") == TokenVerdict::empty);
  CHECK(rig.position("") == CausalPosition{});
}

TEST_CASE("a captured position is issued as it is, without waiting") {
  Rig rig;
  rig.sample(Lsn{5000});
  auto const before = rig.script.now;
  CHECK(rig.desk.issue({Lsn{6000}, 1, rig.script.now}) == token(Lsn{6000}));
  CHECK(rig.script.now == before);
  rig.primary_goes_down();
  CHECK(rig.desk.issue({Lsn{6000}, 1, rig.script.now}) == token(Lsn{6000}));
}

TEST_CASE("a position from before a failover keeps its own timeline") {
  Rig rig;
  rig.sample(Lsn{5000}, 2);
  CHECK(rig.desk.issue({Lsn{6000}, 1, rig.script.now}) == token(Lsn{6000}, 1));
}

TEST_CASE("a commit whose position was not captured is covered by the first sample after it") {
  Rig rig;
  rig.sample(Lsn{5000});
  rig.script.now += 1s;
  auto const commit_at = rig.script.now;
  rig.samples_when_waited_for(Lsn{7000});
  CHECK(rig.desk.issue({Lsn{}, 0, commit_at}) == token(Lsn{7000}));
  CHECK(rig.script.now == commit_at + 1ms);
  // By now it is known, so nobody waits any more.
  CHECK(rig.desk.issue({Lsn{}, 0, commit_at}) == token(Lsn{7000}));
  CHECK(rig.script.now == commit_at + 1ms);
}

TEST_CASE("waiting for a sample has the primary asked soon") {
  Rig rig;
  rig.sample(Lsn{5000});
  rig.script.now += 100ms;
  auto const commit_at = rig.script.now;
  Duration until_due = Duration::max();
  rig.script.on_wait = [&] {
    until_due = rig.cluster.look([&](auto const& topology) { return topology.due(0, rig.script.now); }) - commit_at;
    rig.sample(Lsn{7000});
  };
  CHECK_FALSE(rig.desk.issue({Lsn{}, 0, commit_at}).empty());
  CHECK(until_due <= 20ms);
  CHECK(rig.cluster.demanded_at() == commit_at);
}

TEST_CASE("without a sample in time no token is made up") {
  Rig rig;
  rig.sample(Lsn{5000});
  rig.script.now += 1s;
  auto const commit_at = rig.script.now;
  CHECK_THROWS_AS(rig.desk.issue({Lsn{}, 0, commit_at}), rr::NoPrimaryAvailable);
  CHECK(rig.script.now == commit_at + 500ms);
}

TEST_CASE("a cluster that does not tell its identity has no tokens, and says so") {
  Rig rig;
  rig.sample(Lsn{5000}, 1, 0);
  CHECK_THROWS_AS(rig.desk.issue({Lsn{6000}, 1, rig.script.now}), rr::Error);
  Rig without_timeline;
  without_timeline.sample(Lsn{5000}, 0);
  CHECK_THROWS_AS(without_timeline.desk.issue({Lsn{6000}, 0, rig.script.now}), rr::Error);
}

TEST_CASE("a token of this cluster at or below the primary's position is accepted at once") {
  Rig rig;
  rig.sample(Lsn{6000});
  rig.script.now += 1s;
  for (auto const lsn : {Lsn{1}, Lsn{5000}, Lsn{6000}}) {
    CHECK(rig.verdict(token(lsn)) == TokenVerdict::accepted);
    CHECK(rig.position(token(lsn)) == CausalPosition{lsn, 1, rig.script.now});
    CHECK(rig.time_for(token(lsn)) == 0s);
  }
}

TEST_CASE("a token just past a page header is not ahead of a primary at the page's boundary") {
  Rig rig;
  rig.sample(Lsn{8192 + 24});
  CHECK(rig.cluster.facts().position == Lsn{8192});
  CHECK(rig.verdict(token(Lsn{8192 + 24})) == TokenVerdict::accepted);
  CHECK(rig.time_for(token(Lsn{8192 + 24})) == 0s);
}

TEST_CASE("a token that is newer than what is known has the primary asked, and is then accepted") {
  Rig rig;
  rig.sample(Lsn{6000});
  rig.script.now += 1s;
  auto const before = rig.script.now;
  rig.samples_when_waited_for(Lsn{7000});
  auto const [verdict, position] = rig.desk.judge(token(Lsn{6500}));
  CHECK(verdict == TokenVerdict::accepted);
  CHECK(position == CausalPosition{Lsn{6500}, 1, before});
  CHECK(rig.script.now == before + 1ms);
}

TEST_CASE("a token ahead of the primary itself is ignored") {
  Rig rig;
  rig.sample(Lsn{6000});
  rig.script.now += 1s;
  rig.samples_when_waited_for(Lsn{7000});
  CHECK(rig.verdict(token(Lsn{7001})) == TokenVerdict::ahead_of_primary);
  rig.script.now += 1s;
  CHECK(rig.verdict(token(Lsn{1}, 9)) == TokenVerdict::ahead_of_primary);
  rig.script.now += 1s;
  CHECK(rig.position(token(Lsn{1}, 9)) == CausalPosition{});
}

TEST_CASE("a token of a timeline that is learned only now is accepted") {
  Rig rig;
  rig.sample(Lsn{6000});
  rig.script.now += 1s;
  rig.samples_when_waited_for(Lsn{6500}, 2);
  CHECK(rig.verdict(token(Lsn{6400}, 2)) == TokenVerdict::accepted);
}

TEST_CASE("a token from before a failover stands for the moment at which it was taken in") {
  Rig rig;
  rig.sample(Lsn{6000}, 2);
  rig.script.now += 1s;
  // Also where its write was lost in the failover.
  for (auto const lsn : {Lsn{5000}, Lsn{9000}}) {
    CHECK(rig.verdict(token(lsn, 1)) == TokenVerdict::before_failover);
    CHECK(rig.position(token(lsn, 1)) == CausalPosition{Lsn{}, 0, rig.script.now});
    CHECK(rig.time_for(token(lsn, 1)) == 0s);
  }
}

TEST_CASE("a token of another cluster is ignored, and nobody waits for it") {
  Rig rig;
  rig.sample(Lsn{6000});
  rig.script.now += 1s;
  rig.primary_goes_down();
  for (auto const& text : {token(Lsn{5000}, 1, theirs), token(Lsn{9000}, 1, theirs), token(Lsn{9000}, 7, theirs)}) {
    CHECK(rig.verdict(text) == TokenVerdict::of_another_cluster);
    CHECK(rig.position(text) == CausalPosition{});
    CHECK(rig.time_for(text) == 0s);
  }
}

TEST_CASE("a malformed token is ignored, whatever is known") {
  Rig rig;
  for (auto const* text : {"x", "rr1-", "rr1-1000-1-", "rr2-1000-1-1388", "rr1-1000-1-1388 ", "rr1-01000-1-1388"}) {
    CHECK(rig.verdict(text) == TokenVerdict::malformed);
    CHECK(rig.position(text) == CausalPosition{});
  }
  CHECK(rig.time_for("rr1-") == 0s);
}

TEST_CASE("while the primary cannot be asked nothing speaks against a newer token") {
  Rig rig;
  rig.sample(Lsn{6000});
  rig.script.now += 1s;
  rig.primary_goes_down();
  auto const before = rig.script.now;
  auto const [verdict, position] = rig.desk.judge(token(Lsn{9000}));
  CHECK(verdict == TokenVerdict::accepted);
  CHECK(position == CausalPosition{Lsn{9000}, 1, before});
  CHECK(rig.script.now == before + 500ms);
}

TEST_CASE("before anything is known a token waits for the first evidence, and is judged by it") {
  Rig rig;
  rig.samples_when_waited_for(Lsn{6000});
  CHECK(rig.verdict(token(Lsn{5000}, 1, theirs)) == TokenVerdict::of_another_cluster);
  Rig silent;
  CHECK(silent.verdict(token(Lsn{5000})) == TokenVerdict::accepted);
  CHECK(silent.script.now == rr::TimePoint{1h} + 500ms);
}
