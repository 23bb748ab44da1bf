// What if there were no servers and no clock? A cluster in virtual time that the whole router can run on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/causality/settlement.hpp"
#include "replica_router/endpoint.hpp"
#include "replica_router/failure.hpp"
#include "replica_router/pool/begin_failure.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/probe_event.hpp"
#include "replica_router/transaction_modes.hpp"
#include "replica_router/write_options.hpp"

namespace replica_router::simulation {

/// One server of the simulated cluster.
struct Server {
  bool is_running = true;
  bool is_hung = false;  ///< accepts everything and answers nothing
  bool is_in_recovery = true;
  bool is_full = false;  ///< refuses new connections with 53300 (too_many_connections)
  std::uint32_t timeline = 1;
  std::uint64_t system_identifier = 7'000;
  Lsn position{0x1000'0000};  ///< insert position of a primary, replay position of a standby
  Duration delay{};           ///< how far a standby replays behind
  bool is_paused = false;     ///< a standby that replays nothing
  std::optional<std::uint64_t>
      bytes_per_ms;              ///< the most that a standby replays in a millisecond; no limit if not given
  std::uint32_t generation = 0;  ///< grows at each start: older connections are dead
  int open_connections = 0;      ///< sessions open now, probes not counted
  int most_connections = 0;      ///< the most that were ever open at once
  int connects = 0;              ///< sessions ever opened
  Failure next_failure = Failure::statement;  ///< what the next statement fails with, if `failures > 0`
  int failures = 0;
  int refused_prepares = 0;  ///< how many coming PREPAREs the server refuses
};

/// An error that a simulated server or connection raises.
struct SimulatedError : std::runtime_error {
  SimulatedError(Failure kind, std::string const& text) : std::runtime_error{text}, failure{kind} {}
  Failure failure;
};

/// All servers, and the one clock that they and the router share.
class World {
 public:
  Server& operator[](std::string const& name) { return servers_[name]; }
  TimePoint now() const { return now_; }

  /// Writes to the log of a primary.
  void write(std::string const& name, std::uint64_t bytes = 100) {
    auto& primary = servers_[name];
    primary.position = Lsn{primary.position.bytes() + bytes};
    history_.emplace_back(now_, primary.position);
  }

  /// What the primary had written before a moment: the truth that bounds are checked against. What is written in the
  /// very millisecond may come after a question that is asked in it.
  Lsn written_before(TimePoint moment) const {
    Lsn out = floor_;
    for (auto const& [at, lsn] : history_) {
      if (at < moment) {
        out = std::max(out, lsn);
      }
    }
    return out;
  }

  /// Lets virtual time pass, a millisecond at a time, with everything that happens in it.
  void advance(Duration duration) {
    auto const until = now_ + duration;
    while (now_ < until) {
      now_ += std::chrono::milliseconds{1};
      replicate();
      for (auto const& [id, step] : std::map{steps_}) {
        step(now_);
      }
    }
  }

  int add_step(std::function<void(TimePoint)> step) {
    steps_[++last_step_] = std::move(step);
    return last_step_;
  }
  void remove_step(int id) { steps_.erase(id); }

  std::uint64_t entropy() {
    seed_ = seed_ * 6364136223846793005U + 1442695040888963407U;
    return seed_ ^ (seed_ >> 29U);
  }

 private:
  void replicate() {
    for (auto& [name, server] : servers_) {
      if (server.is_running && !server.is_hung && server.is_in_recovery && !server.is_paused) {
        auto const received = std::max(server.position, written_by(now_ - server.delay));
        server.position =
            server.bytes_per_ms ? std::min(received, Lsn{server.position.bytes() + *server.bytes_per_ms}) : received;
      }
    }
    // What every standby has passed is never asked for again.
    while (history_.size() > 4096) {
      floor_ = std::max(floor_, history_.front().second);
      history_.erase(history_.begin(), history_.begin() + 2048);
    }
  }

  Lsn written_by(TimePoint moment) const {
    Lsn out = floor_;
    for (auto at = history_.rbegin(); at != history_.rend(); ++at) {
      if (at->first <= moment) {
        return std::max(out, at->second);
      }
    }
    return out;
  }

  TimePoint now_{std::chrono::hours{1}};
  std::map<std::string, Server> servers_;
  std::vector<std::pair<TimePoint, Lsn>> history_;
  Lsn floor_{0x1000'0000};
  std::map<int, std::function<void(TimePoint)>> steps_;
  int last_step_ = 0;
  std::uint64_t seed_ = 42;
};

/// What a simulated read is handed.
class ReadTransaction {
 public:
  ReadTransaction(World& world, std::string name, std::function<void()> check)
      : world_{&world}, name_{std::move(name)}, check_{std::move(check)} {}
  /// The position of the data that a statement sees.
  Lsn select() {
    check_();
    return (*world_)[name_].position;
  }
  std::string const& node() const { return name_; }

 private:
  World* world_;
  std::string name_;
  std::function<void()> check_;
};

/// What a simulated write is handed.
class WriteTransaction {
 public:
  WriteTransaction(World& world, std::string name, CommitPosition position, std::function<void()> check)
      : world_{&world}, name_{std::move(name)}, position_{position}, check_{std::move(check)} {}
  void insert() { check_(); }
  std::string const& node() const { return name_; }
  void commit() {
    check_();
    world_->write(name_);
    is_committed_ = true;
    if (position_ == CommitPosition::captured) {
      lsn_ = (*world_)[name_].position;
    }
  }
  bool is_committed() const { return is_committed_; }
  bool is_in_doubt() const { return false; }
  std::optional<Lsn> commit_lsn() const { return lsn_; }
  TransactionMark mark() const { return {}; }

 private:
  World* world_;
  std::string name_;
  CommitPosition position_;
  std::function<void()> check_;
  bool is_committed_ = false;
  std::optional<Lsn> lsn_;
};

/// A session of a simulated server.
class Connection {
 public:
  Connection(std::shared_ptr<World> world, std::string name)
      : world_{std::move(world)}, name_{std::move(name)}, generation_{server().generation} {
    ++server().connects;
    server().most_connections = std::max(server().most_connections, ++server().open_connections);
  }
  Connection(Connection const&) = delete;
  Connection& operator=(Connection const&) = delete;
  ~Connection() {
    if (server().generation == generation_) {
      --server().open_connections;
    }
  }

  void abort() noexcept { is_aborted_ = true; }
  bool is_usable() { return !is_aborted_ && server().is_running && server().generation == generation_; }
  bool is_reusable() const { return !is_lost_; }
  bool is_lost() const { return is_lost_; }
  ReadTransaction& begin_read(ReadMode) {
    return read_.emplace(*world_, name_, [this] { check(); });
  }
  WriteTransaction& begin_write(WriteOptions const&, CommitPosition position) {
    check();
    if (server().is_in_recovery) {
      throw SimulatedError{Failure::read_only, "cannot set transaction read-write mode during recovery"};
    }
    return write_.emplace(*world_, name_, position, [this] { check(); });
  }
  WriteTransaction* write() { return write_ ? &*write_ : nullptr; }
  void end() noexcept {
    read_.reset();
    write_.reset();
  }
  std::size_t prepared() const { return prepared_; }
  void prepare(std::string const& name, std::string const&) {
    check();
    if (server().refused_prepares > 0) {
      --server().refused_prepares;
      throw SimulatedError{Failure::statement, "cannot prepare " + name};
    }
    ++prepared_;
  }
  Lsn replayed() {
    check();
    return server().position;
  }
  Settlement outcome_of(TransactionMark const&) { return Settlement::committed; }

 private:
  Server& server() const { return (*world_)[name_]; }
  void check() {
    while (server().is_hung && !is_aborted_) {
      world_->advance(std::chrono::milliseconds{1});
    }
    if (!is_usable()) {
      is_lost_ = true;
      throw SimulatedError{Failure::connection_lost, "connection to " + name_ + " lost"};
    }
    if (server().failures > 0) {
      --server().failures;
      is_lost_ = server().next_failure == Failure::connection_lost;
      throw SimulatedError{server().next_failure, "simulated failure on " + name_};
    }
  }

  std::shared_ptr<World> world_;
  std::string name_;
  std::uint32_t generation_;
  bool is_aborted_ = false;
  bool is_lost_ = false;
  std::size_t prepared_ = 0;
  std::optional<ReadTransaction> read_;
  std::optional<WriteTransaction> write_;
};

/// How a simulated server is reached: by its name.
struct SimulatedAddress {
  std::string name;
  std::string address() const { return name; }
};

/// Asks simulated servers how they are.
class Prober {
 public:
  explicit Prober(std::shared_ptr<World> world) : world_{std::move(world)} {}

  void ask(NodeId id, SimulatedAddress const& address, TimePoint now, TimePoint late_at, Duration late_every) {
    if (id >= probes_.size()) {
      probes_.resize(id + 1);
    }
    probes_[id] = {true, address.name, now, late_at, late_every};
  }
  void forget(NodeId id) {
    if (id < probes_.size()) {
      probes_[id] = {};
    }
  }
  std::vector<ProbeEvent> wait(TimePoint) {
    std::vector<ProbeEvent> out;
    for (NodeId id = 0; id < probes_.size(); ++id) {
      auto& probe = probes_[id];
      if (!probe.is_asked) {
        continue;
      }
      auto const& server = (*world_)[probe.name];
      if (server.is_hung) {
        if (world_->now() >= probe.late_at) {
          probe.late_at = world_->now() + probe.late_every;
          out.push_back({id, ProbeFailure::late, "does not answer", {}});
        }
        continue;
      }
      probe.is_asked = false;
      if (!server.is_running) {
        out.push_back({id, ProbeFailure::refused, "connection refused", {}});
        continue;
      }
      out.push_back({id,
                     std::nullopt,
                     {},
                     {server.is_in_recovery, server.position, server.timeline, true, server.system_identifier,
                      probe.asked_at, std::chrono::microseconds{200}, Lsn{}, Duration{}}});
    }
    return out;
  }
  void wake() {}

 private:
  struct Probe {
    bool is_asked = false;
    std::string name{};
    TimePoint asked_at = never;
    TimePoint late_at = never;
    Duration late_every{};
  };
  std::shared_ptr<World> world_;
  std::vector<Probe> probes_;
};

/// Runs the monitor's step whenever virtual time passes.
class Stepping {
 public:
  template <class Monitor>
  explicit Stepping(Monitor& monitor)
      : world_{monitor.backend().world()}, id_{world_->add_step([&monitor](TimePoint now) { monitor.step(now); })} {}
  Stepping(Stepping const&) = delete;
  Stepping& operator=(Stepping const&) = delete;
  ~Stepping() { world_->remove_step(id_); }

 private:
  std::shared_ptr<World> world_;
  int id_;
};

/// The backend that runs the router on a `World`. Single-threaded: whoever waits makes virtual time pass.
class Backend {
 public:
  using Address = SimulatedAddress;
  using Connection = simulation::Connection;
  using Prober = simulation::Prober;
  using Background = Stepping;
  using ReadTransaction = simulation::ReadTransaction;
  using WriteTransaction = simulation::WriteTransaction;

  explicit Backend(std::shared_ptr<World> world) : world_{std::move(world)} {}

  std::shared_ptr<World> const& world() const { return world_; }
  TimePoint now() const { return world_->now(); }
  std::uint64_t entropy() const { return world_->entropy(); }
  Address address_of(Endpoint const& endpoint) const { return {endpoint.name}; }
  template <class Hopeless>
  std::unique_ptr<Connection> connect(Address const& address, Access, TimePoint deadline,
                                      Hopeless&& is_hopeless) const {
    auto& server = (*world_)[address.name];
    while (server.is_hung) {
      if (now() >= deadline || is_hopeless()) {
        throw ConnectFailure{ProbeFailure::late, "no connection to " + address.name + " within the time allowed"};
      }
      world_->advance(std::chrono::milliseconds{1});
    }
    if (!server.is_running) {
      throw ConnectFailure{ProbeFailure::refused, "connection to " + address.name + " refused"};
    }
    if (server.is_full) {
      throw ConnectFailure{ProbeFailure::too_many_connections, "sorry, too many clients already"};
    }
    return std::make_unique<Connection>(world_, address.name);
  }
  Prober make_prober() const { return Prober{world_}; }
  bool wait_until(std::condition_variable&, std::unique_lock<std::mutex>& lock, TimePoint deadline) const {
    if (now() >= deadline) {
      return false;
    }
    lock.unlock();
    world_->advance(std::chrono::milliseconds{1});
    lock.lock();
    return true;
  }
  std::optional<Failure> failure_in_flight(Connection const&) const {
    try {
      throw;
    } catch (SimulatedError const& error) {
      return error.failure;
    } catch (...) {
      return std::nullopt;
    }
  }

 private:
  std::shared_ptr<World> world_;
};

}  // namespace replica_router::simulation
