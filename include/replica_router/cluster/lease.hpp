// Who gives the connection back? A leased connection of one node, returned when it goes out of scope.
#pragma once

#include <atomic>
#include <utility>

#include "replica_router/cluster/cluster.hpp"

namespace replica_router {

/// A leased connection. What its return tells of the node becomes evidence.
///
/// Thread safety: none; a lease belongs to one thread at a time. Lifetime: must end before the cluster.
template <class Backend>
class Lease {
 public:
  using Connection = typename Backend::Connection;
  using NodeType = Node<Backend>;
  using Slot = typename Pool<Backend>::Slot;

  Lease(Cluster<Backend>& cluster, NodeType& node, Slot& slot, Standing const& standing)
      : cluster_{&cluster}, node_{&node}, slot_{&slot}, standing_{standing} {}
  Lease(Lease&& other) noexcept
      : cluster_{other.cluster_},
        node_{other.node_},
        slot_{std::exchange(other.slot_, nullptr)},
        standing_{other.standing_} {}
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      give_back();
      cluster_ = other.cluster_;
      node_ = other.node_;
      slot_ = std::exchange(other.slot_, nullptr);
      standing_ = other.standing_;
    }
    return *this;
  }
  ~Lease() { give_back(); }

  /// Whether there is a connection: false once moved from or given back.
  bool is_held() const { return slot_ != nullptr; }
  /// The connection.
  Connection& connection() const { return *slot_->connection; }
  /// Its node.
  NodeType& node() const { return *node_; }
  /// What the cluster runs on.
  Backend const& backend() const { return cluster_->backend(); }
  /// When it was given out.
  TimePoint leased_at() const { return slot_->leased_at; }
  /// What was known of the node when the lease was taken.
  Standing const& standing() const { return standing_; }

  /// Ends what was begun on the connection and gives it back now.
  void give_back() noexcept {
    if (slot_ == nullptr) {
      return;
    }
    auto& connection = *slot_->connection;
    connection.end();
    bool const is_reusable = connection.is_reusable();
    if (!is_reusable && connection.is_lost()) {
      node_->counters.lost.fetch_add(1, std::memory_order_relaxed);
      cluster_->suspect(node_->id);
    }
    node_->pool.give_back(*std::exchange(slot_, nullptr), is_reusable, node_->epoch.load(std::memory_order_relaxed));
  }

 private:
  Cluster<Backend>* cluster_;
  NodeType* node_;
  Slot* slot_;
  Standing standing_;
};

}  // namespace replica_router
