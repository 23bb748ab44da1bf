// How does an observer learn of events without holding anybody up? A bounded queue, and a thread that tells them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "replica_router/observe/observer.hpp"

namespace replica_router {

/// Delivers events to one observer; without one it has no thread and does nothing.
///
/// Thread safety: all calls. Lifetime: the destructor delivers what is queued and waits for the observer to return,
/// unless the observer itself ended the router: then nothing more is delivered.
template <class AnyEvent = Event>
class EventDelivery {
 public:
  /// Events that wait at most; further ones are dropped.
  static constexpr std::size_t capacity = 10'000;

  explicit EventDelivery(std::shared_ptr<Observer> observer) {
    if (observer != nullptr) {
      state_ = std::make_shared<State>(std::move(observer));
      thread_ = std::thread{[state = state_] { state->run(); }};
    }
  }
  EventDelivery(EventDelivery const&) = delete;
  EventDelivery& operator=(EventDelivery const&) = delete;
  ~EventDelivery() {
    if (state_ == nullptr) {
      return;
    }
    bool const is_told_now = std::this_thread::get_id() == thread_.get_id();
    state_->stop(is_told_now ? Rest::dropped : Rest::delivered);
    if (is_told_now) {
      thread_.detach();  // it holds what it needs
    } else {
      thread_.join();
    }
  }

  /// Whether anybody is told.
  bool is_wanted() const noexcept { return state_ != nullptr; }

  /// Queues what `make()` returns; calls it only where somebody is told.
  template <class Make>
  void post(Make&& make) const noexcept {
    if (state_ == nullptr) {
      return;
    }
    try {
      state_->push(std::forward<Make>(make)());
    } catch (...) {
      state_->dropped.fetch_add(1, std::memory_order_relaxed);  // no memory for it
    }
  }

  /// Events that were dropped because too many waited.
  std::uint64_t dropped() const noexcept { return count(&State::dropped); }
  /// Events at which the observer threw.
  std::uint64_t failures() const noexcept { return count(&State::failures); }

 private:
  enum class Rest : std::uint8_t { delivered, dropped };

  struct State {
    explicit State(std::shared_ptr<Observer> told) : observer{std::move(told)} {}

    void push(AnyEvent event) {
      {
        std::lock_guard const guard{mutex};
        if (queue.size() >= capacity) {
          dropped.fetch_add(1, std::memory_order_relaxed);
          return;
        }
        queue.push_back(std::move(event));
      }
      is_filled.notify_one();
    }

    void stop(Rest rest) {
      {
        std::lock_guard const guard{mutex};
        is_stopping = true;
        if (rest == Rest::dropped) {
          is_abandoned.store(true, std::memory_order_relaxed);
          queue.clear();
        }
      }
      is_filled.notify_one();
    }

    void run() {
      std::vector<AnyEvent> batch;
      for (;;) {
        {
          std::unique_lock lock{mutex};
          is_filled.wait(lock, [&] { return is_stopping || !queue.empty(); });
          if (queue.empty()) {
            return;
          }
          batch.swap(queue);
        }
        for (auto const& event : batch) {
          if (is_abandoned.load(std::memory_order_relaxed)) {
            return;
          }
          tell(event);
        }
        batch.clear();
      }
    }

    void tell(AnyEvent const& event) noexcept {
      struct Teller {
        Observer& to;
        void operator()(RouteEvent const& route) const { to.on_route(route); }
        void operator()(RetryEvent const& retry) const { to.on_retry(retry); }
        void operator()(FallbackEvent const& fallback) const { to.on_fallback(fallback); }
        void operator()(NodeChangeEvent const& change) const { to.on_node_change(change); }
        void operator()(FailoverEvent const& failover) const { to.on_failover(failover); }
      };
      try {
        std::visit(Teller{*observer}, event);
      } catch (...) {
        failures.fetch_add(1, std::memory_order_relaxed);
      }
    }

    std::shared_ptr<Observer> const observer;
    std::mutex mutex;
    std::condition_variable is_filled;
    std::vector<AnyEvent> queue;
    bool is_stopping = false;
    std::atomic<bool> is_abandoned{false};
    std::atomic<std::uint64_t> dropped{0};
    std::atomic<std::uint64_t> failures{0};
  };

  std::uint64_t count(std::atomic<std::uint64_t> State::*counter) const noexcept {
    return state_ == nullptr ? 0 : (*state_.*counter).load(std::memory_order_relaxed);
  }

  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace replica_router
