#include "replica_router/cluster/causal_scope.hpp"

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

namespace rr = replica_router;
using rr::CausalPosition;
using rr::CausalScope;
using rr::ClusterFacts;
using rr::Duration;
using rr::Lsn;
using rr::TimePoint;
using namespace std::chrono_literals;

namespace {

TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

/// What is known of a cluster whose primary was sampled once.
ClusterFacts sampled(TimePoint moment, Lsn position, std::uint32_t timeline = 1) {
  ClusterFacts out;
  out.position_at = moment;
  out.position = position;
  out.timeline = timeline;
  return out;
}

}  // namespace

TEST_CASE("a new scope has seen nothing") {
  CausalScope const scope;
  auto const state = scope.state();
  CHECK(state.last_commit.at == rr::never);
  CHECK(state.last_read_at == rr::never);
  CHECK(state.last_read_node == rr::no_node);
  CHECK(state.read_before_at == rr::never);
}

TEST_CASE("a scope must see the latest of its commits, in whatever order they are told") {
  CausalScope scope;
  scope.must_see({Lsn{200}, 1, at(2s)}, {});
  scope.must_see({Lsn{100}, 1, at(1s)}, {});
  CHECK(scope.state().last_commit == CausalPosition{Lsn{200}, 1, at(2s)});
  // Concurrent commits may be confirmed in another order than they were written in.
  scope.must_see({Lsn{150}, 1, at(3s)}, {});
  CHECK(scope.state().last_commit == CausalPosition{Lsn{200}, 1, at(3s)});
}

TEST_CASE("where two positions cannot be compared only the moment is left") {
  CausalScope scope;
  scope.must_see({Lsn{200}, 1, at(2s)}, {});
  scope.must_see({Lsn{100}, 2, at(3s)}, {});
  CHECK(scope.state().last_commit == CausalPosition{Lsn{}, 0, at(3s)});
}

TEST_CASE("a moment that the primary was sampled after becomes that sample's position") {
  CausalScope scope;
  scope.must_see({Lsn{}, 0, at(2s)}, {});
  // Not sampled since: nothing stands for the moment.
  scope.must_see({Lsn{}, 0, at(3s)}, sampled(at(1s), Lsn{500}));
  CHECK(scope.state().last_commit == CausalPosition{Lsn{}, 0, at(3s)});
  scope.must_see({Lsn{700}, 1, at(9s)}, sampled(at(4s), Lsn{600}));
  CHECK(scope.state().last_commit == CausalPosition{Lsn{700}, 1, at(9s)});
}

TEST_CASE("the sample that stands for an earlier moment is a floor, however small the later position") {
  CausalScope scope;
  scope.must_see({Lsn{}, 0, at(2s)}, {});
  scope.must_see({Lsn{550}, 1, at(9s)}, sampled(at(4s), Lsn{600}));
  CHECK(scope.state().last_commit == CausalPosition{Lsn{600}, 1, at(9s)});
}

TEST_CASE("one failover does not cost a long-lived scope its positions for ever") {
  CausalScope scope;
  scope.must_see({Lsn{9000}, 1, at(1s)}, sampled(at(0s), Lsn{8000}, 1));
  scope.must_see({Lsn{100}, 2, at(5s)}, sampled(at(4s), Lsn{90}, 2));
  CHECK(scope.state().last_commit == CausalPosition{Lsn{100}, 2, at(5s)});
}

TEST_CASE("a position on the present timeline is kept: it is sooner proven than any sample") {
  CausalScope scope;
  scope.must_see({Lsn{200}, 1, at(2s)}, {});
  scope.must_see({Lsn{210}, 1, at(6s)}, sampled(at(5s), Lsn{500}, 1));
  CHECK(scope.state().last_commit == CausalPosition{Lsn{210}, 1, at(6s)});
}

TEST_CASE("a scope knows where its last read ran, and when the last one elsewhere had ended") {
  CausalScope scope;
  scope.has_read(4, 7, at(1s));
  auto state = scope.state();
  CHECK(state.last_read_node == 4);
  CHECK(state.last_read_epoch == 7);
  CHECK(state.last_read_at == at(1s));
  CHECK(state.read_before_at == rr::never);
  scope.has_read(4, 7, at(2s));
  CHECK(scope.state().read_before_at == rr::never);
  scope.has_read(5, 1, at(3s));
  state = scope.state();
  CHECK(state.last_read_node == 5);
  CHECK(state.last_read_at == at(3s));
  CHECK(state.read_before_at == at(2s));
  scope.has_read(5, 2, at(4s));  // the same node with another role or timeline is another node
  CHECK(scope.state().read_before_at == at(3s));
}

TEST_CASE("a read that ended earlier does not replace a later one") {
  CausalScope scope;
  scope.has_read(4, 7, at(2s));
  scope.has_read(5, 1, at(1s));
  CHECK(scope.state().last_read_node == 4);
  CHECK(scope.state().last_read_at == at(2s));
}

TEST_CASE("reads and commits do not disturb each other") {
  CausalScope scope;
  scope.has_read(4, 7, at(2s));
  scope.must_see({Lsn{200}, 1, at(3s)}, {});
  scope.has_read(4, 7, at(4s));
  CHECK(scope.state().last_commit == CausalPosition{Lsn{200}, 1, at(3s)});
  CHECK(scope.state().last_read_at == at(4s));
}

TEST_CASE("a scope that is moved takes along what it has seen") {
  CausalScope scope;
  scope.must_see({Lsn{200}, 1, at(3s)}, {});
  CausalScope moved{std::move(scope)};
  CHECK(moved.state().last_commit.lsn == Lsn{200});
  CausalScope assigned;
  assigned = std::move(moved);
  CHECK(assigned.state().last_commit.lsn == Lsn{200});
}

TEST_CASE("no commit of four threads is forgotten, and readers see whole states that only grow") {
  constexpr std::uint64_t commits = 100'000;
  CausalScope scope;
  std::atomic<int> wrong{0};
  std::atomic<int> ready{0};
  std::atomic<int> writing{3};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      ++ready;
      while (ready < 3) {
        std::this_thread::yield();
      }
      for (std::uint64_t i = 1; i <= commits; ++i) {
        auto const number = i * 3 + thread;
        scope.must_see({Lsn{number}, 1, TimePoint{Duration{static_cast<std::int64_t>(number)}}}, {});
        scope.has_read(thread, static_cast<std::uint32_t>(thread),
                       TimePoint{Duration{static_cast<std::int64_t>(number)}});
        wrong += scope.state().last_commit.lsn < Lsn{number} ? 1 : 0;
      }
      --writing;
    });
  }
  threads.emplace_back([&] {
    CausalPosition before;
    while (writing > 0) {
      auto const state = scope.state();
      auto const& seen = state.last_commit;
      bool const is_whole =
          seen.at == rr::never || seen.lsn == Lsn{static_cast<std::uint64_t>(seen.at.time_since_epoch().count())};
      bool const is_one_read = state.last_read_node == rr::no_node || state.last_read_node == state.last_read_epoch;
      wrong += is_whole && is_one_read && seen.at >= before.at ? 0 : 1;
      before = seen;
    }
  });
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(wrong == 0);
  CHECK(scope.state().last_commit.lsn == Lsn{commits * 3 + 2});
  CHECK(scope.state().last_read_at == TimePoint{Duration{commits * 3 + 2}});
}
