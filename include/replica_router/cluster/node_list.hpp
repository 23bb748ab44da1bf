// Which nodes are there? A list that is read without a lock while nodes come and go.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "replica_router/cluster/node.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// The nodes by number. A node stays where it is for as long as the list lives, also after it was taken out.
///
/// Thread safety: any number of readers; who changes it must exclude each other.
template <class Backend>
class NodeList {
 public:
  /// One entry a number; empty where no node has that number now.
  using Numbered = std::vector<Node<Backend>*>;

  NodeList() { current_.store(versions_.emplace_back(std::make_unique<Numbered>()).get()); }
  NodeList(NodeList const&) = delete;
  NodeList& operator=(NodeList const&) = delete;
  ~NodeList() = default;

  /// The nodes as of now; the reference stays good for as long as this object lives.
  Numbered const& now() const { return *current_.load(std::memory_order_acquire); }

  /// The node of that number, if there is one.
  Node<Backend>* at(NodeId id) const {
    auto const& list = now();
    return id < list.size() ? list[id] : nullptr;
  }

  /// The node of that name, if there is one.
  Node<Backend>* find(std::string_view name) const {
    for (auto* node : now()) {
      if (node != nullptr && node->endpoint.name == name) {
        return node;
      }
    }
    return nullptr;
  }

  /// Takes a node in under its own number.
  Node<Backend>& insert(std::unique_ptr<Node<Backend>> node) {
    auto list = std::make_unique<Numbered>(now());
    list->resize(std::max(list->size(), node->id + 1), nullptr);
    (*list)[node->id] = node.get();
    Node<Backend>& inserted = *owned_.emplace_back(std::move(node));
    publish(std::move(list));
    return inserted;
  }

  /// Takes a node out.
  void erase(Node<Backend> const& node) {
    auto list = std::make_unique<Numbered>(now());
    (*list)[node.id] = nullptr;
    publish(std::move(list));
  }

 private:
  void publish(std::unique_ptr<Numbered> list) {
    current_.store(versions_.emplace_back(std::move(list)).get(), std::memory_order_release);
  }

  std::vector<std::unique_ptr<Node<Backend>>> owned_;
  // Old versions are kept: a reader may still walk one, and there is one more only for each node added or removed.
  std::vector<std::unique_ptr<Numbered>> versions_;
  std::atomic<Numbered const*> current_{nullptr};
};

}  // namespace replica_router
