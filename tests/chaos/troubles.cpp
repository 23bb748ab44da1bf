#include "chaos/troubles.hpp"

#include <fmt/format.h>

#include <utility>

#include "chaos/load.hpp"
#include "support/eventually.hpp"
#include "support/worker_process.hpp"

namespace replica_router::chaos {

namespace {

using namespace std::chrono_literals;
using testing::ClusterNode;
using testing::Fault;

/// One thing is wrong with one node for the drawn time.
std::function<void(Scene const&)> single(Fault fault, bool on_primary = false) {
  return [fault, on_primary](Scene const& scene) {
    testing::PlannedFault const planned{fault, on_primary ? 0 : scene.replica, 0ms, scene.duration, 100ms};
    scene.stage.begin(planned);
    scene.pass_time();
    scene.stage.mend(planned);
  };
}

void all_replicas_down(Scene const& scene) {
  for (std::size_t i = 1; i < scene.stage.size(); ++i) {
    scene.stage.node(i).kill();
  }
  scene.pass_time();
  for (std::size_t i = 1; i < scene.stage.size(); ++i) {
    scene.stage.node(i).start();
  }
}

void rolling_restart(Scene const& scene) {
  for (std::size_t i = scene.stage.size(); i-- > 0;) {
    scene.stage.node(i).stop_fast();
    scene.stage.node(i).start();
    scene.wait_until_normal();
  }
}

void recovery_conflict(Scene const& scene) {
  for (int i = 0; i < 3; ++i) {
    scene.stage.node(0).execute("TRUNCATE doomed; INSERT INTO doomed VALUES (1)");
    scene.pass_time();
  }
}

void too_many_connections(Scene const& scene) {
  // The clients lose what they have to one replica and may open only a few there.
  auto const limit = [&](int connections) {
    scene.stage.node(0).execute(fmt::format("ALTER ROLE {} CONNECTION LIMIT {}", load_role, connections));
    scene.stage.node(scene.replica).wait_until_caught_up_with(scene.stage.node(0));
  };
  limit(4);
  scene.stage.link(scene.replica).set(testing::LinkMode::drop);
  scene.stage.link(scene.replica).set(testing::LinkMode::forward);
  scene.pass_time();
  limit(-1);
}

std::string count_of(ClusterNode const& node) { return node.query("SELECT count(*) FROM entry"); }

/// Two nodes of one timeline take writes: nobody can say which is right, so writes wait until one is stopped.
void split(Scene const& scene) {
  auto& rival = scene.stage.node(scene.replica);
  rival.break_away();
  auto const before = count_of(rival);
  scene.pass_time();
  if (auto const after = count_of(rival); after != before) {
    scene.violations.push_back(fmt::format("writes reached a rival primary: {} rows, then {}", before, after));
  }
  rival.rebuild_from(scene.stage.node(0));
}

/// Kills the primary and promotes the replica that has received most.
///
/// With asynchronous replication PostgreSQL itself loses what no replica had received. So commits wait for a replica
/// from a moment before the kill on, and all replicas have what was acknowledged before that moment: then the one that
/// has received most has every acknowledged write.
void promote(Scene const& scene) {
  auto& stage = scene.stage;
  auto& old = stage.node(0);
  old.set("synchronous_standby_names", "ANY 1 (*)");
  testing::eventually("commits wait for a replica", 20s, [&] {
    return old.query("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") ==
           std::to_string(stage.size() - 1);
  });
  for (std::size_t i = 1; i < stage.size(); ++i) {
    stage.node(i).wait_until_caught_up_with(old, 20s);
  }
  scene.pass_time();
  old.kill();
  std::size_t best = 1;
  std::uint64_t most = 0;
  for (std::size_t i = 1; i < stage.size(); ++i) {
    auto const received = std::stoull(stage.node(i).query("SELECT pg_last_wal_receive_lsn() - '0/0'"));
    if (received > most) {
      most = received;
      best = i;
    }
  }
  stage.node(best).promote();
  stage.swap_with_primary(best);
  for (std::size_t i = 1; i < stage.size(); ++i) {
    if (i != best) {
      stage.node(i).follow(stage.node(0));
    }
  }
}

ClusterNode& old_primary_of(Scene const& scene) {
  for (std::size_t i = 1; i < scene.stage.size(); ++i) {
    if (!scene.stage.node(i).is_running()) {
      return scene.stage.node(i);
    }
  }
  throw std::logic_error{"no node is down after a promotion"};
}

void promotion(Scene const& scene) {
  promote(scene);
  old_primary_of(scene).rebuild_from(scene.stage.node(0));
}

void old_primary_returns(Scene const& scene) {
  promote(scene);
  auto& old = old_primary_of(scene);
  // Else a write that reached it would wait for replicas rather than be seen.
  old.set("synchronous_standby_names", std::nullopt);
  old.start();
  auto const before = count_of(old);
  scene.pass_time();
  if (auto const after = count_of(old); after != before) {
    scene.violations.push_back(fmt::format("writes reached the old primary: {} rows, then {}", before, after));
  }
  old.rebuild_from(scene.stage.node(0));
}

}  // namespace

void Scene::pass_time() const {
  testing::StopSign never_raised;
  never_raised.pause(duration);
}

std::vector<TroubleKind> trouble_kinds() {
  return {
      {"replica killed (-9)", single(Fault::kill)},
      {"replica stopped (SIGSTOP)", single(Fault::stop)},
      {"replica's link stalls", single(Fault::link_stall)},
      {"replica's link drops", single(Fault::link_drop)},
      {"replica's link never answers", single(Fault::link_blackhole)},
      {"replica slow to connect", single(Fault::link_delay)},
      {"replica's replay paused", single(Fault::replay_pause)},
      {"replica's WAL receiver cut", single(Fault::receiver_cut)},
      {"recovery conflicts", recovery_conflict},
      {"too many connections (53300)", too_many_connections},
      {"all replicas down", all_replicas_down},
      {"primary killed, restarted", single(Fault::kill, true)},
      {"primary shut down at once", single(Fault::crash, true)},
      {"primary's answers lost", single(Fault::answers_lost, true)},
      {"replica promoted", promotion, Settling::impossible},
      {"old primary returns writable", old_primary_returns, Settling::impossible},
      {"two primaries of one timeline", split},
      {"rolling restart", rolling_restart},
  };
}

TroubleDeck::TroubleDeck(std::uint64_t seed, std::vector<TroubleKind> kinds, std::size_t replicas)
    : random_{seed}, kinds_{std::move(kinds)}, replicas_{replicas} {}

TroubleDeck::Card TroubleDeck::draw() {
  if (order_.empty()) {
    for (std::size_t i = 0; i < kinds_.size(); ++i) {
      order_.push_back(i);
    }
    for (std::size_t i = order_.size(); i > 1; --i) {
      std::swap(order_[i - 1], order_[random_() % i]);
    }
  }
  auto const kind = order_.back();
  order_.pop_back();
  Card out{kinds_[kind]};
  out.replica = 1 + random_() % replicas_;
  out.pause_before = std::chrono::milliseconds{300 + random_() % 700};
  out.duration = std::chrono::milliseconds{300 + random_() % 2'000};
  return out;
}

}  // namespace replica_router::chaos
