// When will this replica have what is wanted? An estimate from how fast it has been replaying while it was behind.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/causality/lsn.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/cluster_facts.hpp"
#include "replica_router/topology/eligibility.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// How fast one replica replays, measured only over spans through which it had a backlog: one that keeps up replays as
/// fast as the primary writes, which says nothing of what it could do.
///
/// Thread safety: none.
class ReplayRate {
 public:
  /// The replica had replayed up to `replay` when asked at `asked_at`; `primary` is the primary's latest known
  /// position.
  void sample(Lsn replay, TimePoint asked_at, Lsn primary) {
    if (since_ != never && asked_at <= since_) {
      return;
    }
    bool const had_backlog = since_ != never && replay < backlog_end_;
    bytes_per_second_ = 0;
    if (had_backlog && replay > replay_) {
      auto const seconds = std::chrono::duration<double>(asked_at - since_).count();
      bytes_per_second_ = static_cast<double>(replay.bytes_since(replay_)) / seconds;
    }
    replay_ = replay;
    since_ = asked_at;
    backlog_end_ = primary;
  }

  /// Zero when unknown: it keeps up, stands still, or was asked only once.
  double bytes_per_second() const { return bytes_per_second_; }

 private:
  Lsn replay_;
  Lsn backlog_end_;  // where the primary was known to be then
  TimePoint since_ = never;
  double bytes_per_second_ = 0;
};

/// How far a replica has to replay to be proven to meet a demand; nothing where replaying alone cannot prove it: no
/// sample of the primary stands for the demand yet, or the replica's log is not known to be the primary's.
template <class Facts>
constexpr std::optional<Lsn> wanted_position(Facts const& facts, Freshness const& demand, ClusterFacts const& cluster) {
  if (facts.lineage != Lineage::same) {
    return std::nullopt;
  }
  auto const position = resolved(demand.position, cluster);
  Lsn wanted;
  if (!has_position(facts, position)) {
    if (!position.lsn || position.timeline != facts.primary_timeline) {
      return std::nullopt;
    }
    wanted = position.lsn.before_page_header();
  }
  if (demand.as_of != never && facts.as_of < demand.as_of) {
    if (cluster.position_at < demand.as_of) {
      return std::nullopt;
    }
    wanted = std::max(wanted, cluster.position);
  }
  return wanted;
}

/// When a replica will have replayed up to `wanted`, at the rate of its last two answers; `never` where no rate is
/// known. Not sooner than 2 ms after the last answer: asking more often would only slow it down.
template <class Facts>
TimePoint replayed_at(Facts const& facts, Lsn wanted) {
  if (facts.replay_rate <= 0 || facts.probed_at == never) {
    return never;
  }
  auto const missing = static_cast<double>(wanted.bytes_since(facts.position));
  // Beyond a day it is as good as never, and would not fit the clock.
  auto const seconds = std::min(missing / facts.replay_rate, 86'400.0);
  auto const needed = std::chrono::nanoseconds{static_cast<std::int64_t>(seconds * 1e9)};
  return facts.probed_at + std::max<Duration>(needed, std::chrono::milliseconds{2});
}

}  // namespace replica_router
