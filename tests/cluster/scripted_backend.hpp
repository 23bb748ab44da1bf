// What does the cluster run on in its tests? A clock that is set, and a prober whose answers are written beforehand.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/cluster/cluster.hpp"
#include "replica_router/endpoint.hpp"
#include "replica_router/options.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/probe_event.hpp"

namespace replica_router::testing {

/// A question that the prober was to put.
struct Question {
  NodeId node = no_node;
  std::string address;
  TimePoint asked_at = never;
  TimePoint late_at = never;
  Duration late_every{};
};

/// What the test writes and reads: time, what happens next, and what the code under test did.
struct Script {
  TimePoint now{std::chrono::hours{1}};
  std::vector<ProbeEvent> events;         ///< what the next wait returns
  std::vector<Question> questions;        ///< what was asked so far
  std::vector<NodeId> forgotten;          ///< whose probes were dropped so far
  std::vector<TimePoint> waits;           ///< until when each wait was to last
  int wakes = 0;                          ///< how often the prober was woken
  int open = 0;                           ///< connections open now
  std::function<void()> on_ask = [] {};   ///< what another thread does while a question is put
  std::function<void()> on_wait = [] {};  ///< what another thread does while somebody waits for evidence
};

/// A pooled connection of no use but to be there.
class ScriptedConnection {
 public:
  explicit ScriptedConnection(Script& script) : script_{script} { ++script_.open; }
  ScriptedConnection(ScriptedConnection const&) = delete;
  ScriptedConnection& operator=(ScriptedConnection const&) = delete;
  ~ScriptedConnection() { --script_.open; }
  bool is_usable() const { return true; }
  void abort() noexcept { is_aborted_ = true; }
  bool is_aborted() const { return is_aborted_; }

 private:
  Script& script_;
  bool is_aborted_ = false;
};

/// Tells what the script says.
class ScriptedProber {
 public:
  explicit ScriptedProber(Script& script) : script_{&script} {}
  void ask(NodeId id, std::string const& address, TimePoint now, TimePoint late_at, Duration late_every) {
    script_->questions.push_back({id, address, now, late_at, late_every});
    script_->on_ask();
  }
  void forget(NodeId id) { script_->forgotten.push_back(id); }
  std::vector<ProbeEvent> wait(TimePoint until) {
    script_->waits.push_back(until);
    return std::exchange(script_->events, {});
  }
  void wake() { ++script_->wakes; }

 private:
  Script* script_;
};

/// The backend that plays the script. Who waits for evidence has a millisecond pass, and whatever the script does then.
class ScriptedBackend {
 public:
  using Address = std::string;
  using Connection = ScriptedConnection;
  using Prober = ScriptedProber;

  explicit ScriptedBackend(Script& script) : script_{script} {}
  TimePoint now() const { return script_.now; }
  std::uint64_t entropy() const { return 0; }
  Address address_of(Endpoint const& endpoint) const { return endpoint.conninfo; }
  Prober make_prober() const { return Prober{script_}; }
  bool wait_until(std::condition_variable&, std::unique_lock<std::mutex>& lock, TimePoint deadline) const {
    if (script_.now >= deadline) {
      return false;
    }
    script_.now += std::chrono::milliseconds{1};
    lock.unlock();
    script_.on_wait();
    lock.lock();
    return true;
  }

 private:
  Script& script_;
};

constexpr std::uint64_t ours = 1000;    ///< the cluster's system identifier
constexpr std::uint64_t theirs = 2000;  ///< another cluster's

/// A primary as node 0 and replicas from 1 on, at `host=NAME`.
inline Options options_for(std::size_t replicas) {
  Options out;
  out.primary = {"host=primary", {.name = "primary"}};
  for (std::size_t i = 1; i <= replicas; ++i) {
    auto const name = "replica-" + std::to_string(i);
    out.replicas.push_back({"host=" + name, {.name = name}});
  }
  return out;
}

/// What a node of the cluster tells when it is asked at `asked_at`.
inline ProbeAnswer told(bool is_in_recovery, Lsn position, TimePoint asked_at, std::uint32_t timeline = 1,
                        std::uint64_t system = ours) {
  ProbeAnswer out;
  out.is_in_recovery = is_in_recovery;
  out.position = position;
  out.timeline = timeline;
  out.system_identifier = system;
  out.asked_at = asked_at;
  return out;
}

/// The node was asked and answered now.
inline void answer(Cluster<ScriptedBackend>& cluster, NodeId id, ProbeAnswer const& answer) {
  cluster.update([&](auto& topology) {
    topology.asked(id, answer.asked_at);
    topology.answered(id, answer, answer.asked_at);
  });
}

}  // namespace replica_router::testing
