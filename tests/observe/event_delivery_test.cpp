#include "replica_router/observe/event_delivery.hpp"

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/eventually.hpp"

namespace rr = replica_router;
using namespace std::chrono_literals;
using rr::testing::eventually;

namespace {

/// Writes down what it is told, and then does what the test wants.
struct Scribe : rr::Observer {
  void on_route(rr::RouteEvent const& event) override { note("route " + event.node); }
  void on_retry(rr::RetryEvent const& event) override { note("retry " + event.node + " " + event.reason); }
  void on_fallback(rr::FallbackEvent const& event) override { note("fallback " + event.node); }
  void on_node_change(rr::NodeChangeEvent const& event) override { note("change " + event.node); }
  void on_failover(rr::FailoverEvent const& event) override { note("failover " + event.node); }

  void note(std::string line) {
    {
      std::lock_guard const guard{mutex};
      lines.push_back(std::move(line));
      thread = std::this_thread::get_id();
    }
    then();
  }
  std::vector<std::string> told() {
    std::lock_guard const guard{mutex};
    return lines;
  }

  std::mutex mutex;
  std::vector<std::string> lines;
  std::thread::id thread;
  std::function<void()> then = [] {};
};

rr::RouteEvent route_to(std::string const& node) { return {rr::TimePoint{1s}, rr::Operation::read, node, 5ms}; }

/// A door that a thread waits at.
struct Door {
  void wait() {
    std::unique_lock lock{mutex};
    is_reached = true;
    changed.notify_all();
    changed.wait(lock, [&] { return is_open; });
  }
  void wait_until_reached() {
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return is_reached; });
  }
  void open() {
    std::lock_guard const guard{mutex};
    is_open = true;
    changed.notify_all();
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool is_reached = false;
  bool is_open = false;
};

}  // namespace

TEST_CASE("without an observer no event is even made") {
  rr::EventDelivery<> const events{nullptr};
  CHECK_FALSE(events.is_wanted());
  bool is_made = false;
  events.post([&] {
    is_made = true;
    return route_to("a");
  });
  CHECK_FALSE(is_made);
  CHECK(events.dropped() == 0);
  CHECK(events.failures() == 0);
}

TEST_CASE("every kind of event reaches its function, in order, on another thread, the last ones too") {
  auto const scribe = std::make_shared<Scribe>();
  {
    rr::EventDelivery<> const events{scribe};
    CHECK(events.is_wanted());
    events.post([] { return route_to("a"); });
    events.post([] { return rr::RetryEvent{rr::TimePoint{1s}, rr::Operation::write, "b", "gone"}; });
    events.post([] { return rr::FallbackEvent{rr::TimePoint{1s}, "c", rr::FallbackReason::unproven}; });
    events.post([] {
      return rr::NodeChangeEvent{rr::TimePoint{1s}, "d", rr::Health::up, rr::Health::down, {}, {}, "refused"};
    });
    events.post([] { return rr::FailoverEvent{rr::TimePoint{1s}, "d", "e", 1, 2, 3s}; });
  }
  CHECK(scribe->told() == std::vector<std::string>{"route a", "retry b gone", "fallback c", "change d", "failover e"});
  CHECK(scribe->thread != std::this_thread::get_id());
}

TEST_CASE("an observer that throws is told the next event all the same, and the failure is counted") {
  auto const scribe = std::make_shared<Scribe>();
  scribe->then = [] { throw std::runtime_error{"the observer's own"}; };
  rr::EventDelivery<> const events{scribe};
  events.post([] { return route_to("a"); });
  events.post([] { return route_to("b"); });
  eventually("both were told", 5s, [&] { return events.failures() == 2; });
  CHECK(scribe->told().size() == 2);
}

TEST_CASE("an observer that never returns blocks nobody who posts: what does not fit is dropped and counted") {
  auto const scribe = std::make_shared<Scribe>();
  Door door;
  scribe->then = [&] { door.wait(); };
  {
    rr::EventDelivery<> const events{scribe};
    events.post([] { return route_to("first"); });
    door.wait_until_reached();
    for (std::size_t i = 0; i < rr::EventDelivery<>::capacity + 25; ++i) {
      events.post([] { return route_to("next"); });
    }
    CHECK(events.dropped() == 25);
    door.open();
  }
  CHECK(scribe->told().size() == 1 + rr::EventDelivery<>::capacity);
}

TEST_CASE("an event that cannot be made is counted as dropped") {
  auto const scribe = std::make_shared<Scribe>();
  rr::EventDelivery<> const events{scribe};
  events.post([]() -> rr::RouteEvent { throw std::bad_alloc{}; });
  CHECK(events.dropped() == 1);
}

TEST_CASE("several threads post at once and nothing is lost") {
  auto const scribe = std::make_shared<Scribe>();
  {
    rr::EventDelivery<> const events{scribe};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          events.post([] { return route_to("a"); });
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    CHECK(events.dropped() == 0);
  }
  CHECK(scribe->told().size() == 2000);
}

TEST_CASE("an observer may end the router that tells it") {
  auto const scribe = std::make_shared<Scribe>();
  auto events = std::make_unique<rr::EventDelivery<>>(scribe);
  Door door;
  std::atomic<bool> is_over{false};
  scribe->then = [&] {
    door.wait();
    events.reset();
    is_over = true;
  };
  events->post([] { return route_to("a"); });
  door.wait_until_reached();
  events->post([] { return route_to("never told"); });
  door.open();
  eventually("the end has come", 5s, [&] { return is_over.load(); });
  CHECK(scribe->told() == std::vector<std::string>{"route a"});
}
