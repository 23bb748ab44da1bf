// Which prepared statements does every connection know? Those registered so far, in their order.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"

namespace replica_router {

/// The statements that were registered with one router. None is ever taken back.
///
/// Thread safety: all calls.
class RegisteredStatements {
 public:
  /// Takes one in: every connection, present and future, will know it before its next lease.
  /// Throws: `ConfigError` when the name stands for another statement already.
  template <class Text = std::string>
  void add(std::type_identity_t<Text> const& name, std::type_identity_t<Text> const& sql) {
    std::lock_guard guard{mutex_};
    for (auto const& [known, text] : statements_) {
      if (known == name) {
        if (text != sql) {
          throw ConfigError{"prepare: the name \"" + name + "\" stands for another statement already"};
        }
        return;
      }
    }
    statements_.emplace_back(name, sql);
    count_.store(statements_.size(), std::memory_order_release);
  }

  /// Prepares on a leased connection what it does not know yet. Throws: the server's error.
  template <class Connection>
  void prepare_on(Connection& connection) {
    while (connection.prepared() < count_.load(std::memory_order_acquire)) {
      std::pair<std::string, std::string> next;
      {
        std::lock_guard guard{mutex_};
        next = statements_[connection.prepared()];
      }
      connection.prepare(next.first, next.second);
    }
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<std::string, std::string>> statements_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace replica_router
