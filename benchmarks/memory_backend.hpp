// What does the router cost by itself? A backend without servers: every node answers once, every connection is one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/replica_router.hpp"

namespace replica_router::benchmarks {

/// What a read or write is handed: nothing.
struct MemoryTransaction {
  bool is_committed() const { return false; }
  bool is_in_doubt() const { return false; }
  std::optional<Lsn> commit_lsn() const { return std::nullopt; }
  TransactionMark mark() const { return {}; }
  void commit() {}
  std::string id{};
};

/// A connection to nothing.
class MemoryConnection {
 public:
  void abort() noexcept {}
  bool is_usable() const noexcept { return true; }
  bool is_reusable() const noexcept { return true; }
  bool is_lost() const noexcept { return false; }
  MemoryTransaction& begin_read(ReadMode) noexcept { return transaction_; }
  MemoryTransaction& begin_write(WriteOptions const&, CommitPosition) noexcept { return transaction_; }
  MemoryTransaction* write() noexcept { return &transaction_; }
  void end() noexcept {}
  std::size_t prepared() const noexcept { return 0; }
  void prepare(std::string const&, std::string const&) noexcept {}
  Lsn replayed() const noexcept { return Lsn{0x1000'0000}; }
  Settlement outcome_of(TransactionMark const&) const { return Settlement::unknown; }

 private:
  MemoryTransaction transaction_;
};

/// The address of a node of the memory: whether it is the primary.
struct MemoryAddress {
  bool is_primary = false;
  std::string address() const { return is_primary ? "primary" : "replica"; }
};

/// Answers every probe at once: up, caught up, a fifth of a millisecond away.
class MemoryProber {
 public:
  void ask(NodeId id, MemoryAddress const& address, TimePoint now, TimePoint, Duration) {
    ProbeAnswer answer;
    answer.is_in_recovery = !address.is_primary;
    answer.position = Lsn{0x1000'0000};
    answer.timeline = 1;
    answer.system_identifier = 7;
    answer.asked_at = now;
    answer.round_trip = std::chrono::microseconds{200};
    events_.push_back({id, std::nullopt, {}, answer});
  }
  void forget(NodeId) {}
  std::vector<ProbeEvent> wait(TimePoint) { return std::exchange(events_, {}); }
  void wake() {}

 private:
  std::vector<ProbeEvent> events_;
};

/// Probes every node twice at the start (the second time all are measured against the primary), and never again: what
/// is measured is the caller's own work.
struct ProbedAtStart {
  template <class Monitor>
  explicit ProbedAtStart(Monitor& monitor) {
    monitor.step(TimePoint::max());
    monitor.step(TimePoint::max());
  }
};

/// The backend; its clock and its random bits are the real ones, since every decision pays for them.
class MemoryBackend {
 public:
  using Address = MemoryAddress;
  using Connection = MemoryConnection;
  using Prober = MemoryProber;
  using Background = ProbedAtStart;
  using ReadTransaction = MemoryTransaction;
  using WriteTransaction = MemoryTransaction;

  TimePoint now() const { return real_->now(); }
  std::uint64_t entropy() const { return real_->entropy(); }
  Address address_of(Endpoint const& endpoint) const { return {endpoint.name == "primary"}; }
  template <class Hopeless>
  std::unique_ptr<Connection> connect(Address const&, Access, TimePoint, Hopeless&&) const {
    return std::make_unique<Connection>();
  }
  Prober make_prober() const { return {}; }
  bool wait_until(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, TimePoint deadline) const {
    return real_->wait_until(condition, lock, deadline);
  }
  std::optional<Failure> failure_in_flight(Connection const&) const { return std::nullopt; }

 private:
  std::shared_ptr<PqxxBackend const> real_ = std::make_shared<PqxxBackend>();  // shared, as it cannot be moved
};

}  // namespace replica_router::benchmarks
