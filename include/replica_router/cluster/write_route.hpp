// Where does this write go now? To the primary, as soon as there is one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "replica_router/causality/settlement.hpp"
#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/lease.hpp"
#include "replica_router/cluster/lease_attempt.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/failure.hpp"
#include "replica_router/observe/explanation.hpp"
#include "replica_router/transaction_modes.hpp"
#include "replica_router/write_options.hpp"

namespace replica_router {

/// Begins transactions on the primary for one write, waiting for a primary within the write's deadline.
///
/// Thread safety: none; one object a write.
template <class Backend>
class WriteRoute {
 public:
  WriteRoute(Cluster<Backend>& cluster, Backend const& backend, WriteOptions const& write, CommitPosition position)
      : cluster_{cluster}, backend_{backend}, write_{write}, position_{position} {
    began_at_ = backend_.now();
    now_ = began_at_;
    deadline_ = now_ + (write.deadline ? *write.deadline : cluster_.options().acquire_timeout);
    cluster_.demand(now_);
  }

  /// A connection to the primary with a transaction begun on it.
  ///
  /// Throws: `NoPrimaryAvailable` when none was to be had by the deadline, `PoolTimeout`, the server's own error.
  Lease<Backend> take() {
    auto lease = begin();
    cluster_.log().route(Operation::write, lease.node(), lease.standing());
    return lease;
  }

  /// Commits what the user's function has not committed itself, and settles a commit in doubt where that was asked for.
  /// Throws: whatever the commit throws; something of its own where the server says that a commit in doubt did not
  /// happen.
  void commit(Lease<Backend>& lease) {
    auto& write = *lease.connection().write();
    if (write.is_committed()) {
      return;
    }
    try {
      write.commit();
    } catch (CommitInDoubt const&) {
      if (write.mark().id == 0) {
        throw;
      }
      switch (settle(write.mark(), lease.standing().timeline)) {
        case Settlement::committed: break;
        case Settlement::aborted: throw ProvenAborted{};
        case Settlement::in_progress:
        case Settlement::unknown: throw;
      }
    }
  }

  /// In a `catch` block, after anything was thrown before the commit was confirmed: returns when nothing can have been
  /// committed and the user's function may run again, rethrows otherwise.
  void run_again_or_rethrow(Lease<Backend>& lease, int attempt) {
    try {
      throw;
    } catch (ProvenAborted const&) {
      failed(lease, "the connection was lost during COMMIT, which the server says was not carried out");
      return;
    } catch (...) {
      if (lease.connection().write()->is_in_doubt() || !has_time()) {
        throw;
      }
      auto const failure = backend_.failure_in_flight(lease.connection());
      bool const is_conflict = failure == Failure::serialization || failure == Failure::deadlock;
      if (failure == Failure::connection_lost) {
        failed(lease, "the connection was lost before COMMIT was sent");
      } else if (is_conflict && attempt < write_.max_attempts) {
        cluster_.log().retry(Operation::write, lease.node(), text_in_flight());
        lease.give_back();
      } else {
        throw;
      }
    }
  }

 private:
  /// The server says that the commit in doubt did not happen.
  struct ProvenAborted {};

  Lease<Backend> begin() {
    for (;;) {
      auto const seen = cluster_.changes();
      auto* const primary = cluster_.primary();
      if (primary != nullptr) {
        if (auto lease = begin_on(*primary)) {
          return std::move(*lease);
        }
      }
      if (!has_time()) {
        give_up();
      }
      cluster_.wait_for_change(seen, deadline_);
      now_ = backend_.now();
    }
  }

  bool has_time() {
    now_ = backend_.now();
    return now_ < deadline_;
  }

  /// The transaction that failed in `lease` may be run anew; what is known of the node is brought up to date.
  void failed(Lease<Backend>& lease, std::string reason) {
    cluster_.log().retry(Operation::write, lease.node(), reason);
    last_failure_ = lease.node().endpoint.name + ": " + std::move(reason);
    cluster_.suspect(lease.node().id);
    lease.give_back();
  }

  /// What became of a transaction that was committed on `timeline` while its connection was lost. Only the same
  /// timeline can tell; asks until the server has noticed the loss itself, or the deadline passes.
  Settlement settle(TransactionMark const& mark, std::uint32_t timeline) {
    for (;;) {
      auto const seen = cluster_.changes();
      std::optional<Lease<Backend>> lease;
      try {
        lease.emplace(begin());
        if (timeline == 0 || lease->standing().timeline != timeline) {
          return Settlement::unknown;
        }
        lease->connection().end();
        auto const outcome = lease->connection().outcome_of(mark);
        if (outcome != Settlement::in_progress) {
          return outcome;
        }
      } catch (...) {
        // Lost again on the way: asked again. No primary in time, or a server that does not answer the question: the
        // doubt stays, and the caller says so.
        if (!lease || backend_.failure_in_flight(lease->connection()) != Failure::connection_lost) {
          return Settlement::unknown;
        }
      }
      lease.reset();
      if (!has_time()) {
        return Settlement::unknown;
      }
      cluster_.wait_for_change(seen, deadline_);
    }
  }

  std::optional<Lease<Backend>> begin_on(Node<Backend>& node) {
    std::optional<Lease<Backend>> out;
    auto const standing = node.standing.read();
    auto* const slot =
        try_lease(cluster_, node, standing.epoch, Purpose::write, Patience{began_at_, now_, deadline_}, last_failure_);
    if (slot == nullptr) {
      return out;
    }
    out.emplace(cluster_, node, *slot, standing);
    try {
      cluster_.statements().prepare_on(out->connection());
      out->connection().begin_write(write_, position_);
    } catch (std::exception const& error) {
      auto const failure = backend_.failure_in_flight(out->connection());
      if (failure != Failure::connection_lost && failure != Failure::read_only) {
        throw;
      }
      // Nothing of the user's has run yet: the fence held, or the connection was a dead one.
      failed(*out, error.what());
      out.reset();
      return out;
    }
    node.counters.writes.fetch_add(1, std::memory_order_relaxed);
    return out;
  }

  [[noreturn]] void give_up() const {
    std::string out = "no primary took the write within " + readable(deadline_ - began_at_);
    if (cluster_.facts().is_split) {
      out += "; two writable nodes of the same timeline cannot be told apart, so writes are refused: stop one of them";
    }
    for (auto const* node : cluster_.nodes()) {
      if (node != nullptr) {
        auto const facts = node->facts.read();
        auto const reason = cluster_.reason(node->id);
        out += "; " + node->endpoint.name + ": " + std::string{text_of(facts.health)} + ", " +
               std::string{text_of(facts.role)} + (reason.empty() ? "" : " (" + reason + ")");
      }
    }
    if (!last_failure_.empty()) {
      out += "; tried last: " + last_failure_;
    }
    throw NoPrimaryAvailable{out};
  }

  Cluster<Backend>& cluster_;
  Backend const& backend_;
  WriteOptions write_;
  CommitPosition position_;
  TimePoint began_at_ = never;
  TimePoint now_ = never;  // of the latest look at the clock: a try begins then
  TimePoint deadline_ = never;
  std::string last_failure_;
};

}  // namespace replica_router
