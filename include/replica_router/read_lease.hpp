// What does `read()` give? A connection of the node that was chosen, until it goes out of scope.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "replica_router/cluster/lease.hpp"
#include "replica_router/cluster/session_state.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/observe/explanation.hpp"

namespace replica_router {

/// Notes in a session, when it goes out of scope itself, that a read has ended. Without a session it notes nothing.
///
/// Lifetime: the session and the backend must outlive it.
template <class Backend>
class ReadNote {
 public:
  ReadNote(SessionState* session, NodeId node, std::uint32_t epoch, Backend const& backend)
      : session_{session}, node_{node}, epoch_{epoch}, backend_{backend} {}
  ReadNote(ReadNote const&) = delete;
  ReadNote& operator=(ReadNote const&) = delete;
  ~ReadNote() {
    if (session_ != nullptr) {
      session_->scope.has_read(node_, epoch_, backend_.now());
    }
  }

 private:
  SessionState* session_;
  NodeId node_;
  std::uint32_t epoch_;
  Backend const& backend_;
};

/// A read in progress: `->` and `*` give the transaction object that its statements run on.
///
/// A lease was proven when it was taken: take a new one after a write.
/// Thread safety: none; one thread at a time. Lifetime: may outlive the router; results may outlive it.
template <class Backend>
class ReadLease {
 public:
  using Transaction = typename Backend::ReadTransaction;

  ReadLease(Lease<Backend>&& lease, Transaction& transaction, std::shared_ptr<Cluster<Backend>> cluster,
            std::shared_ptr<SessionState> session)
      : cluster_{std::move(cluster)},
        lease_{std::move(lease)},
        transaction_{&transaction},
        session_{std::move(session)},
        staleness_{staleness_of(lease_.standing(), lease_.leased_at())} {}
  ReadLease(ReadLease&&) noexcept = default;
  ReadLease& operator=(ReadLease&& other) noexcept {
    if (this != &other) {
      end();
      lease_ = std::move(other.lease_);
      transaction_ = other.transaction_;
      session_ = std::move(other.session_);
      staleness_ = other.staleness_;
      cluster_ = std::move(other.cluster_);
    }
    return *this;
  }
  ~ReadLease() { end(); }

  /// The transaction object: autocommit, unless the read asked for a snapshot.
  /// Throws: `UsageError` when the lease was moved from.
  Transaction& operator*() const {
    if (!lease_.is_held()) {
      throw UsageError{"this read lease was moved from or given back: it holds no connection any more"};
    }
    return *transaction_;
  }
  /// As `*`.
  Transaction* operator->() const { return &**this; }

  /// The name of the node that serves the read. Throws: as `*`.
  std::string_view served_by() const {
    static_cast<void>(**this);
    return lease_.node().endpoint.name;
  }

  /// How stale the data is at most, as proven when the lease was taken; `Duration::max()` when nothing is proven.
  Duration staleness() const { return staleness_; }

  /// Gives the connection back now rather than at the end of the scope.
  void end() noexcept {
    if (lease_.is_held()) {
      ReadNote<Backend> const note{session_.get(), lease_.node().id, lease_.standing().epoch, lease_.backend()};
      lease_.give_back();
    }
    session_.reset();
    cluster_.reset();
  }

 private:
  std::shared_ptr<Cluster<Backend>> cluster_;  // goes with the connection: an ended lease keeps nothing alive
  Lease<Backend> lease_;
  Transaction* transaction_;
  std::shared_ptr<SessionState> session_;  // only where the read is part of a monotonic sequence
  Duration staleness_;
};

}  // namespace replica_router
