// What does `write()` give? A transaction on the primary, rolled back unless it is committed.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/cluster/lease.hpp"
#include "replica_router/errors.hpp"

namespace replica_router {

/// A write in progress: `->` and `*` give the transaction; `commit()` makes it definite.
///
/// Thread safety: none; one thread at a time. Lifetime: may outlive the router.
template <class Backend>
class WriteLease {
 public:
  using Transaction = typename Backend::WriteTransaction;
  /// Called once after a confirmed commit, with the primary's position where it was captured.
  using OnCommit = std::function<void(Lease<Backend> const&, std::optional<Lsn>)>;

  WriteLease(Lease<Backend> lease, OnCommit on_commit) : lease_{std::move(lease)}, on_commit_{std::move(on_commit)} {}
  WriteLease(WriteLease&&) noexcept = default;
  WriteLease& operator=(WriteLease&& other) noexcept {
    if (this != &other) {
      end();
      lease_ = std::move(other.lease_);
      on_commit_ = std::move(other.on_commit_);
      is_settled_ = other.is_settled_;
    }
    return *this;
  }
  ~WriteLease() { end(); }

  /// The transaction. Throws: `UsageError` when the lease was moved from or has ended.
  Transaction& operator*() const {
    if (!lease_.is_held()) {
      throw UsageError{is_settled_ ? "this write has ended: take a new one for the next statement"
                                   : "this write lease was moved from: it holds no transaction any more"};
    }
    return *lease_.connection().write();
  }
  /// As `*`.
  Transaction* operator->() const { return &**this; }

  /// The name of the node that takes the write. Throws: as `*`.
  std::string_view served_by() const {
    static_cast<void>(**this);
    return lease_.node().endpoint.name;
  }

  /// Commits, and gives the connection back.
  ///
  /// Throws: `UsageError` when called again or on a lease that was moved from; `CommitInDoubt` when the connection was
  /// lost meanwhile; `TransactionRolledBack` when an error inside had been swallowed; the server's own error, such as a
  /// deferred constraint's. After any of them the transaction is over.
  void commit() {
    auto& transaction = **this;
    try {
      transaction.commit();
    } catch (...) {
      end();
      throw;
    }
    end();
  }

  /// Rolls back what is not committed and gives the connection back now.
  void end() noexcept {
    if (!lease_.is_held()) {
      return;
    }
    is_settled_ = true;
    if (auto const* write = lease_.connection().write(); write != nullptr && write->is_committed()) {
      on_commit_(lease_, write->commit_lsn());
    }
    lease_.give_back();
    on_commit_ = nullptr;  // it holds what the lease needed: an ended lease keeps nothing alive
  }

 private:
  Lease<Backend> lease_;
  OnCommit on_commit_;
  bool is_settled_ = false;
};

}  // namespace replica_router
