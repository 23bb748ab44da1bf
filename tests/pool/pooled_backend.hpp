// What do the pool's tests lease? Connections that do nothing but count themselves, on a clock that can be set forward.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "replica_router/time_point.hpp"

namespace replica_router::testing {

/// How many connections there are and were.
struct Meter {
  std::atomic<int> open{0};
  std::atomic<int> most_open{0};
  std::atomic<int> opened{0};
  std::function<void()> on_close = [] {};  ///< called while a connection is being closed

  void count_in() {
    ++opened;
    auto const now_open = ++open;
    auto most = most_open.load();
    while (most < now_open && !most_open.compare_exchange_weak(most, now_open)) {
    }
  }
};

/// A connection whose server is a counter.
class PooledConnection {
 public:
  explicit PooledConnection(Meter& meter) : meter_{meter} { meter_.count_in(); }
  PooledConnection(PooledConnection const&) = delete;
  PooledConnection& operator=(PooledConnection const&) = delete;
  ~PooledConnection() {
    meter_.on_close();
    --meter_.open;
  }

  bool is_usable() const { return is_alive_ && !is_aborted_; }
  void abort() noexcept { is_aborted_ = true; }
  bool is_aborted() const { return is_aborted_; }
  void die() { is_alive_ = false; }

 private:
  Meter& meter_;
  std::atomic<bool> is_alive_{true};
  std::atomic<bool> is_aborted_{false};
};

/// The real clock, set forward at will, and real waiting.
class PooledBackend {
 public:
  using Connection = PooledConnection;

  TimePoint now() const { return TimePoint::clock::now() + ahead_.load(); }
  void set_forward(Duration duration) { ahead_ = ahead_.load() + duration; }
  bool wait_until(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, TimePoint deadline) const {
    return condition.wait_until(lock, deadline - ahead_.load()) == std::cv_status::no_timeout;
  }

 private:
  std::atomic<Duration> ahead_{Duration::zero()};
};

/// Whether the condition came to hold within ten seconds.
template <class Condition>
bool comes_to_hold(Condition const& condition) {
  auto const end = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

}  // namespace replica_router::testing
