// Which node serves this statement? The one object that an application holds.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "replica_router/cluster/cluster.hpp"
#include "replica_router/cluster/read_route.hpp"
#include "replica_router/cluster/read_terms.hpp"
#include "replica_router/cluster/session_state.hpp"
#include "replica_router/cluster/shared_state.hpp"
#include "replica_router/cluster/token_desk.hpp"
#include "replica_router/cluster/write_route.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/failure.hpp"
#include "replica_router/observe/status.hpp"
#include "replica_router/options.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/policies/sticky_after_write.hpp"
#include "replica_router/postgres/pqxx_backend.hpp"
#include "replica_router/read_lease.hpp"
#include "replica_router/read_options.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/write_lease.hpp"
#include "replica_router/write_options.hpp"

namespace replica_router {

/// Routes reads to replicas and writes to the primary, and never lets a session miss its own writes.
///
/// Thread safety: all calls; one router, or one session, may be shared by all threads.
/// Lifetime: sessions and leases may outlive the router they came from; what they share goes with the last of them.
template <RoutingPolicy Policy = StickyAfterWrite<LeastLag>, class Backend = PqxxBackend>
class ReplicaRouter {
 public:
  using ReadTransaction = typename Backend::ReadTransaction;
  using WriteTransaction = typename Backend::WriteTransaction;

  /// Starts with whatever answers: a node that is down is an event, not an exception.
  /// Throws: `ConfigError` naming the field that is wrong.
  explicit ReplicaRouter(Options options, Policy policy = Policy{})
      : ReplicaRouter{std::make_shared<Shared>(validated(std::move(options)), std::move(policy))} {}

  /// The same on another backend, such as a simulation.
  ReplicaRouter(Options options, Policy policy, Backend backend)
      : ReplicaRouter{std::make_shared<Shared>(validated(std::move(options)), std::move(policy), std::move(backend))} {}

  // Not copyable, so that nobody shares a causal scope by mistake: `session()` gives another.
  ReplicaRouter(ReplicaRouter&&) noexcept = default;
  ReplicaRouter& operator=(ReplicaRouter&&) noexcept = default;
  ~ReplicaRouter() = default;

  /// A lease on the node that the read goes to; `->` and `*` give a transaction object in autocommit, one round trip a
  /// statement. A statement that fails is not run elsewhere: `read(fn)` does that.
  ///
  /// Throws: `FreshnessUnmet`, `NoReplicaAvailable`, `NoPrimaryAvailable` when no node may serve it in time;
  /// `PoolTimeout` when the node's connections are all out.
  [[nodiscard]] ReadLease<Backend> read() { return lease_for(session_->terms); }

  /// As `read()`, with a contract of its own. Throws: `ConfigError` for options out of range.
  [[nodiscard]] ReadLease<Backend> read(ReadOptions const& given) { return lease_for(terms_with(given)); }

  /// Runs `fn(transaction)` on the node that the read goes to and returns its result. When the node fails, rather than
  /// the statement, or recovery on a replica cancels it, `fn` is run again on another node.
  ///
  /// Throws: as `read()`; what `fn` throws, once, with the connection back in its pool.
  template <class Function>
    requires std::invocable<Function&, ReadTransaction&>
  std::invoke_result_t<Function&, ReadTransaction&> read(Function&& fn) {
    return run(session_->terms, fn);
  }

  /// As `read(fn)`, with a contract of its own. Throws: also `ConfigError` for options out of range.
  template <class Function>
    requires std::invocable<Function&, ReadTransaction&>
  std::invoke_result_t<Function&, ReadTransaction&> read(ReadOptions const& given, Function&& fn) {
    return run(terms_with(given), fn);
  }

  /// A transaction on the primary: `->` and `*` give it, `commit()` makes it definite, else it is rolled back.
  ///
  /// Throws: `ConfigError` for options out of range; `NoPrimaryAvailable` when none was to be had in time;
  /// `PoolTimeout`.
  [[nodiscard]] WriteLease<Backend> write(WriteOptions const& options = {}) {
    validate(options);
    WriteRoute<Backend> route{shared_->cluster, backend(), options, shared_->commit_position()};
    return WriteLease<Backend>{route.take(), [shared = shared_, session = session_](auto const& lease, auto lsn) {
                                 shared->committed(session->scope, lease, lsn);
                               }};
  }

  /// Runs `fn(transaction)`, or `fn(transaction, attempt)` with attempts counted from 1, in a transaction on the
  /// primary: commits when it returns, rolls back when it throws. `fn` is run again only where nothing can have been
  /// committed.
  ///
  /// Throws: as `write()`; what `fn` throws; `CommitInDoubt`, `TransactionRolledBack` and the server's own errors as
  /// told at `WriteLease::commit()`.
  template <class Function>
    requires(std::invocable<Function&, WriteTransaction&> || std::invocable<Function&, WriteTransaction&, int>)
  auto write(Function&& fn) {
    return write(WriteOptions{}, std::forward<Function>(fn));
  }

  /// As `write(fn)`, with demands of its own.
  template <class Function>
    requires(std::invocable<Function&, WriteTransaction&> || std::invocable<Function&, WriteTransaction&, int>)
  auto write(WriteOptions const& options, Function&& fn) {
    validate(options);
    auto const shared = shared_;
    auto const session = session_;
    WriteRoute<Backend> route{shared->cluster, backend(), options, shared->commit_position()};
    for (int attempt = 1;; ++attempt) {
      auto lease = route.take();
      auto& transaction = *lease.connection().write();
      auto const commit = [&] {
        route.commit(lease);
        shared->committed(session->scope, lease, lease.connection().write()->commit_lsn());
      };
      try {
        if constexpr (std::is_void_v<decltype(call(fn, transaction, attempt))>) {
          call(fn, transaction, attempt);
          commit();
          return;
        } else {
          auto result = call(fn, transaction, attempt);
          commit();
          return result;
        }
      } catch (...) {
        auto const* write = lease.connection().write();
        if (write->is_committed()) {
          // `fn` committed by itself and threw afterwards: the session must see what it wrote.
          shared->committed(session->scope, lease, write->commit_lsn());
          throw;
        }
        route.run_again_or_rethrow(lease, attempt);
      }
    }
  }

  /// Another router on the same nodes, pools and policy, with a causal scope of its own: one for each request or user.
  /// No connection, no thread. Its reads ask for `defaults` where they do not say; what neither says is the router's.
  /// Throws: `ConfigError` for defaults out of range.
  [[nodiscard]] ReplicaRouter session(ReadOptions const& defaults = {}) const {
    validate(defaults);
    return ReplicaRouter{shared_, amended(shared_->terms, defaults)};
  }

  /// A session that sees what the token's session had written; see `observe`.
  [[nodiscard]] ReplicaRouter session(std::string_view token, ReadOptions const& defaults = {}) const {
    auto out = session(defaults);
    out.observe(token);
    return out;
  }

  /// The position of the session's last write, as text for a cookie, a header or a job's payload; empty when it has
  /// written nothing. Where the commit's position was not captured, waits for the next sample of the primary.
  /// Throws: `NoPrimaryAvailable` when no sample came within `probe_timeout`.
  [[nodiscard]] std::string token() const {
    return TokenDesk{shared_->cluster, backend()}.issue(session_->scope.state().last_commit);
  }

  /// Takes a token in: from now on this session sees what the token's session had written. The text is not trusted:
  /// whatever is wrong with it is told and ignored. Waits, at most `probe_timeout`, only where the token is newer than
  /// everything known of the primary. Throws: nothing of its own.
  TokenVerdict observe(std::string_view token) {
    auto const [verdict, position] = TokenDesk{shared_->cluster, backend()}.judge(token);
    if (position.at != never) {
      session_->scope.must_see(position, shared_->cluster.facts());
    }
    return verdict;
  }

  /// Registers a prepared statement: every connection of every node knows it, present and future.
  /// Throws: `ConfigError` when the name stands for another statement already. A statement that the server refuses
  /// shows as the server's error at the first read or write after.
  void prepare(std::string const& name, std::string const& sql) { shared_->cluster.statements().add(name, sql); }

  /// Takes a replica in at run time. Throws: `ConfigError` as the constructor does.
  void add_replica(Endpoint endpoint) {
    auto all = shared_->cluster.options();
    all.replicas.clear();
    for (auto const* node : shared_->cluster.nodes()) {
      if (node != nullptr && node->hint == RoleHint::replica) {
        all.replicas.push_back(node->endpoint);
      }
    }
    all.replicas.push_back(std::move(endpoint));
    shared_->cluster.add(validated(std::move(all)).replicas.back(), RoleHint::replica);
  }

  /// Lets a node go, by name: no read is placed on it any more; leases that are out end in peace, and then its
  /// connections are closed. Throws: `ConfigError` when there is none of that name.
  void remove_replica(std::string_view name) { shared_->cluster.remove(name); }

  /// Waits until every node has been heard of, be it up or down, so that the first reads are spread over all replicas
  /// that live. Nothing needs it: reads and writes work from the first moment. False when `timeout` passed first.
  bool wait_until_ready(std::chrono::milliseconds timeout) const {
    auto const deadline = backend().now() + timeout;
    for (;;) {
      auto const seen = shared_->cluster.changes();
      bool const is_ready = std::ranges::none_of(shared_->cluster.nodes(), [](auto const* node) {
        return node != nullptr && node->facts.read().health == Health::unknown;
      });
      if (is_ready || backend().now() >= deadline) {
        return is_ready;
      }
      shared_->cluster.wait_for_change(seen, deadline);
    }
  }

  /// What is known of each node now.
  [[nodiscard]] Status status() const { return shared_->status(); }

  /// Which node a read of this session would get now, and why not each other node.
  /// Throws: `ConfigError` for options out of range.
  [[nodiscard]] Explanation explain(ReadOptions const& options = {}) const {
    return route_for(terms_with(options)).explain();
  }

 private:
  using Shared = SharedState<Policy, Backend>;

  explicit ReplicaRouter(std::shared_ptr<Shared> const& shared) : ReplicaRouter{shared, shared->terms} {}
  ReplicaRouter(std::shared_ptr<Shared> shared, ReadTerms const& terms)
      : shared_{std::move(shared)}, session_{std::make_shared<SessionState>(terms)} {}

  std::shared_ptr<Cluster<Backend>> cluster() const { return {shared_, &shared_->cluster}; }
  Backend const& backend() const { return shared_->backend; }

  /// What a read asks for, the session's terms included. Throws: `ConfigError`.
  ReadTerms terms_with(ReadOptions const& given) const {
    validate(given);
    return amended(session_->terms, given);
  }

  ReadRoute<Policy, Backend> route_for(ReadTerms const& terms) const {
    return {shared_->cluster, backend(), shared_->policy, session_->scope.state(), terms};
  }

  ReadLease<Backend> lease_for(ReadTerms const& terms) {
    auto route = route_for(terms);
    for (;;) {
      auto& lease = route.take();
      ReadTransaction* transaction = nullptr;
      try {
        transaction = &lease.connection().begin_read(route.contract().mode);
      } catch (...) {
        route.run_elsewhere_or_rethrow();
        continue;
      }
      return {std::move(lease), *transaction, cluster(), session_to_note(session_, route)};
    }
  }

  template <class Function>
  std::invoke_result_t<Function&, ReadTransaction&> run(ReadTerms const& terms, Function& fn) {
    auto const shared = shared_;  // it stays, should this router be destroyed while `fn` runs
    auto route = route_for(terms);
    auto const session = session_to_note(session_, route);
    for (;;) {
      auto& lease = route.take();
      try {
        auto& transaction = lease.connection().begin_read(route.contract().mode);
        ReadNote<Backend> const note{session.get(), lease.node().id, lease.standing().epoch, lease.backend()};
        return fn(transaction);
      } catch (...) {
        route.run_elsewhere_or_rethrow();
      }
    }
  }

  /// The session, where the read is part of a monotonic sequence.
  static std::shared_ptr<SessionState> session_to_note(std::shared_ptr<SessionState> const& session,
                                                       ReadRoute<Policy, Backend> const& route) {
    return route.contract().monotonic == MonotonicReads::on ? session : nullptr;
  }

  template <class Function>
  static decltype(auto) call(Function& fn, WriteTransaction& transaction, int attempt) {
    if constexpr (std::invocable<Function&, WriteTransaction&, int>) {
      return fn(transaction, attempt);
    } else {
      return fn(transaction);
    }
  }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<SessionState> session_;
};

}  // namespace replica_router
