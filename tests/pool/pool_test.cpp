#include "replica_router/pool/pool.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pool/pooled_backend.hpp"

namespace rr = replica_router;
using rr::Duration;
using rr::PoolInterrupted;
using rr::PoolLimits;
using rr::PoolTimeout;
using rr::Purpose;
using rr::TimePoint;
using rr::testing::comes_to_hold;
using rr::testing::Meter;
using rr::testing::PooledBackend;
using rr::testing::PooledConnection;
using namespace std::chrono_literals;

namespace {

using Pool = rr::Pool<PooledBackend>;

/// A pool of countable connections.
struct Rig {
  PooledBackend backend;
  Meter meter;
  Pool pool;

  explicit Rig(PoolLimits limits = {}) : pool{backend, limits} {}

  std::unique_ptr<PooledConnection> open() { return std::make_unique<PooledConnection>(meter); }
  Pool::Slot& acquire(Purpose purpose, Duration patience = 30s, std::uint32_t epoch = 1) {
    return pool.acquire(purpose, epoch, backend.now(), backend.now() + patience, [&](TimePoint) { return open(); });
  }
  void give_back(Pool::Slot& slot, bool is_reusable = true, std::uint32_t epoch = 1) {
    pool.give_back(slot, is_reusable, epoch);
  }
  bool queue_grows_to(std::size_t callers) {
    return comes_to_hold([&] { return pool.report().waiting == callers; });
  }
};

/// A thread that leases one connection, tells a list when it has it, and holds it until it is told to let go.
class Caller {
 public:
  Caller(Rig& rig, Purpose purpose, int number, std::vector<int>& order, std::mutex& order_mutex)
      : thread_{[this, &rig, purpose, number, &order, &order_mutex] {
          try {
            auto& slot = rig.acquire(purpose);
            {
              std::lock_guard guard{order_mutex};
              order.push_back(number);
            }
            is_served_ = true;
            is_released_.wait(false);
            rig.give_back(slot);
          } catch (PoolInterrupted const&) {
            is_interrupted_ = true;
          }
        }} {}
  Caller(Caller const&) = delete;
  Caller& operator=(Caller const&) = delete;
  ~Caller() { let_go(); }

  void let_go() {
    is_released_ = true;
    is_released_.notify_all();
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  bool is_served() const { return is_served_; }
  bool is_interrupted() const { return is_interrupted_; }

 private:
  std::atomic<bool> is_served_{false};
  std::atomic<bool> is_interrupted_{false};
  std::atomic<bool> is_released_{false};
  std::thread thread_;
};

/// The message of the `PoolTimeout` that an acquisition ends with.
std::string timeout_text(Rig& rig, Purpose purpose) {
  try {
    rig.acquire(purpose, 1ms);
  } catch (PoolTimeout const& timeout) {
    return timeout.what();
  }
  return "no timeout";
}

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a connection is opened when first needed and used again afterwards") {
  Rig rig;
  CHECK(rig.meter.opened == 0);
  auto& first = rig.acquire(Purpose::replica_read);
  auto const* const connection = first.connection.get();
  CHECK(rig.pool.in_flight() == 1);
  rig.give_back(first);
  CHECK(rig.pool.in_flight() == 0);
  CHECK(rig.pool.report().idle == 1);
  auto& second = rig.acquire(Purpose::primary_read);
  CHECK(second.connection.get() == connection);
  CHECK(rig.meter.opened == 1);
  rig.give_back(second);
}

TEST_CASE("a write gets a connection that was opened for writes, and a read one that was opened for reads") {
  Rig rig{{.max_connections = 2}};
  auto const lease_once = [&](Purpose purpose) {
    auto& slot = rig.acquire(purpose);
    CHECK(slot.access == rr::access_for(purpose));
    auto const* const connection = slot.connection.get();
    rig.give_back(slot);
    return connection;
  };
  auto const* const reader = lease_once(Purpose::primary_read);
  auto const* const writer = lease_once(Purpose::write);
  CHECK(reader != writer);
  CHECK(lease_once(Purpose::primary_read) == reader);
  CHECK(lease_once(Purpose::replica_read) == reader);
  CHECK(lease_once(Purpose::write) == writer);
  CHECK(rig.meter.opened == 2);
}

TEST_CASE("where all room is taken by the other kind, an idle connection is replaced") {
  Rig rig{{.max_connections = 1}};
  rig.give_back(rig.acquire(Purpose::write));
  auto& read = rig.acquire(Purpose::primary_read);
  CHECK(read.access == rr::Access::read_only);
  CHECK(rig.meter.opened == 2);
  std::vector<int> order;
  std::mutex order_mutex;
  Caller waiting{rig, Purpose::write, 1, order, order_mutex};
  REQUIRE(rig.queue_grows_to(1));
  rig.give_back(read);
  REQUIRE(comes_to_hold([&] { return waiting.is_served(); }));
  CHECK(rig.meter.opened == 3);
  CHECK(rig.meter.open == 1);
  CHECK(rig.meter.most_open == 1);
}

TEST_CASE("the deadline is handed on to whoever opens") {
  Rig rig;
  auto const deadline = rig.backend.now() + 7s;
  TimePoint seen;
  auto& slot = rig.pool.acquire(Purpose::write, 1, rig.backend.now(), deadline, [&](TimePoint until) {
    seen = until;
    return rig.open();
  });
  CHECK(seen == deadline);
  rig.give_back(slot);
}

TEST_CASE("the maximum is never passed") {
  Rig rig{{3}};
  std::vector<Pool::Slot*> leased;
  for (int i = 0; i < 3; ++i) {
    leased.push_back(&rig.acquire(Purpose::replica_read));
  }
  CHECK(contains(timeout_text(rig, Purpose::replica_read), "3 connections are held by reads"));
  CHECK(rig.meter.open == 3);
  CHECK(rig.pool.report().waiting == 0);
  for (auto* slot : leased) {
    rig.give_back(*slot);
  }
  CHECK(rig.pool.report().open == 3);
}

TEST_CASE("reads on a node that became the primary take no more than is left to them, whatever lies idle there") {
  Rig rig{{4, 2}};
  std::vector<Pool::Slot*> leased;
  for (int i = 0; i < 4; ++i) {
    leased.push_back(&rig.acquire(Purpose::replica_read));
  }
  for (auto* slot : leased) {
    rig.give_back(*slot);
  }
  static_cast<void>(rig.acquire(Purpose::primary_read));
  static_cast<void>(rig.acquire(Purpose::primary_read));
  CHECK(contains(timeout_text(rig, Purpose::primary_read), "2 reserved for writes"));
}

TEST_CASE("reads on the primary never take what is reserved for writes") {
  Rig rig{{4, 2}};
  auto& first = rig.acquire(Purpose::primary_read);
  auto& second = rig.acquire(Purpose::primary_read);
  CHECK(contains(timeout_text(rig, Purpose::primary_read), "2 reserved for writes"));
  auto& third = rig.acquire(Purpose::write);
  auto& fourth = rig.acquire(Purpose::write);
  CHECK(contains(timeout_text(rig, Purpose::write), "2 by writes"));
  // Not even where they lie idle.
  rig.give_back(third);
  rig.give_back(fourth);
  CHECK(rig.pool.report().idle == 2);
  CHECK(contains(timeout_text(rig, Purpose::primary_read), "2 connections are held by reads and 0 by writes"));
  rig.give_back(first);
  rig.give_back(rig.acquire(Purpose::primary_read, 1ms));
  rig.give_back(second);
}

TEST_CASE("writes may take everything, and reads get what they leave") {
  Rig rig{{2, 1}};
  auto& first = rig.acquire(Purpose::write);
  auto& second = rig.acquire(Purpose::write);
  CHECK(contains(timeout_text(rig, Purpose::primary_read), "2 by writes"));
  rig.give_back(first);
  rig.give_back(rig.acquire(Purpose::primary_read, 1ms));
  rig.give_back(second);
}

TEST_CASE("waiters of one purpose are served in the order in which they came") {
  for (auto const purpose : {Purpose::replica_read, Purpose::primary_read, Purpose::write}) {
    Rig rig{{1, 0}};
    auto& held = rig.acquire(purpose);
    std::vector<int> order;
    std::mutex order_mutex;
    std::vector<std::unique_ptr<Caller>> callers;
    for (int i = 0; i < 6; ++i) {
      callers.push_back(std::make_unique<Caller>(rig, purpose, i, order, order_mutex));
      REQUIRE(rig.queue_grows_to(static_cast<std::size_t>(i) + 1));
    }
    // Some ways lead to a free place: a connection returned, one that is broken, an opening that fails.
    rig.give_back(held, false);
    for (auto const& caller : callers) {
      REQUIRE(comes_to_hold([&] { return caller->is_served(); }));
      caller->let_go();
    }
    CHECK(order == std::vector{0, 1, 2, 3, 4, 5});
  }
}

TEST_CASE("who waits for a connection is in flight, too") {
  Rig rig{{1, 0}};
  auto& held = rig.acquire(Purpose::replica_read);
  CHECK(rig.pool.in_flight() == 1);
  std::vector<int> order;
  std::mutex order_mutex;
  {
    Caller first{rig, Purpose::replica_read, 1, order, order_mutex};
    REQUIRE(rig.queue_grows_to(1));
    CHECK(rig.pool.in_flight() == 2);
    Caller second{rig, Purpose::replica_read, 2, order, order_mutex};
    REQUIRE(rig.queue_grows_to(2));
    CHECK(rig.pool.in_flight() == 3);
    CHECK_THROWS_AS(rig.acquire(Purpose::replica_read, 1ms), rr::PoolTimeout);
    CHECK(rig.pool.in_flight() == 3);
    rig.give_back(held);
    CHECK(rig.pool.in_flight() == 2);
    first.let_go();
    CHECK(rig.pool.in_flight() == 1);
  }
  CHECK(rig.pool.in_flight() == 0);
}

TEST_CASE("a write overtakes reads that only reserved connections are left for") {
  Rig rig{{3, 1}};
  auto& read = rig.acquire(Purpose::primary_read);
  auto& other_read = rig.acquire(Purpose::primary_read);
  auto& write = rig.acquire(Purpose::write);
  std::vector<int> order;
  std::mutex order_mutex;
  Caller waiting_read{rig, Purpose::primary_read, 1, order, order_mutex};
  REQUIRE(rig.queue_grows_to(1));
  Caller waiting_write{rig, Purpose::write, 2, order, order_mutex};
  REQUIRE(rig.queue_grows_to(2));
  rig.give_back(write);
  CHECK(comes_to_hold([&] { return waiting_write.is_served(); }));
  CHECK_FALSE(waiting_read.is_served());
  rig.give_back(read);
  CHECK(comes_to_hold([&] { return waiting_read.is_served(); }));
  rig.give_back(other_read);
}

TEST_CASE("a write finds the reserved connection although reads wait") {
  Rig rig{{2, 1}};
  auto& read = rig.acquire(Purpose::primary_read);
  std::vector<int> order;
  std::mutex order_mutex;
  Caller waiting_read{rig, Purpose::primary_read, 1, order, order_mutex};
  REQUIRE(rig.queue_grows_to(1));
  rig.give_back(rig.acquire(Purpose::write, 1ms));
  CHECK_FALSE(waiting_read.is_served());
  rig.give_back(read);
  CHECK(comes_to_hold([&] { return waiting_read.is_served(); }));
}

TEST_CASE("one returned connection serves one waiter, and those behind keep waiting") {
  Rig rig{{2}};
  auto& first = rig.acquire(Purpose::write);
  auto& second = rig.acquire(Purpose::write);
  std::vector<int> order;
  std::mutex order_mutex;
  Caller early{rig, Purpose::write, 1, order, order_mutex};
  REQUIRE(rig.queue_grows_to(1));
  Caller late{rig, Purpose::write, 2, order, order_mutex};
  REQUIRE(rig.queue_grows_to(2));
  rig.give_back(first);
  CHECK(comes_to_hold([&] { return early.is_served(); }));
  CHECK(rig.pool.report().waiting == 1);
  CHECK_FALSE(late.is_served());
  rig.give_back(second);
  CHECK(comes_to_hold([&] { return late.is_served(); }));
}

TEST_CASE("who has waited in vain is out of the queue") {
  Rig rig{{1}};
  auto& held = rig.acquire(Purpose::write);
  CHECK(contains(timeout_text(rig, Purpose::write), "0 other callers wait"));
  CHECK(rig.pool.report().waiting == 0);
  rig.give_back(held);
  rig.give_back(rig.acquire(Purpose::write, 1ms));
}

TEST_CASE("a timeout says who holds what, and whether this thread is one of them") {
  Rig rig{{3, 1}};
  std::vector<int> order;
  std::mutex order_mutex;
  auto& own = rig.acquire(Purpose::primary_read);
  Caller reading{rig, Purpose::primary_read, 1, order, order_mutex};
  Caller writing{rig, Purpose::write, 2, order, order_mutex};
  REQUIRE(comes_to_hold([&] { return reading.is_served() && writing.is_served(); }));
  rig.backend.set_forward(1234ms);
  auto const text = timeout_text(rig, Purpose::write);
  INFO(text);
  CHECK(contains(text, "2 connections are held by reads and 1 by writes, of at most 3 (1 reserved for writes)"));
  CHECK(rig.pool.report().longest_lease >= 1234ms);
  CHECK(contains(text, "this thread already holds 1 of this node's leases"));
  CHECK(contains(text, "raise max_connections"));
  std::string elsewhere;
  std::thread{[&] { elsewhere = timeout_text(rig, Purpose::write); }}.join();
  INFO(elsewhere);
  CHECK_FALSE(contains(elsewhere, "this thread"));
  CHECK(contains(elsewhere, "return leases sooner"));
  rig.give_back(own);
}

TEST_CASE("a waiter that was served holds the connection by its own name") {
  Rig rig{{1}};
  auto& held = rig.acquire(Purpose::write);
  std::size_t own = 0;
  std::thread waiter{[&] {
    auto& slot = rig.acquire(Purpose::write);
    own = rig.pool.report().leased_to_this_thread;
    rig.give_back(slot);
  }};
  CHECK(rig.queue_grows_to(1));
  rig.give_back(held);
  waiter.join();
  CHECK(own == 1);
}

TEST_CASE("the report counts what is open, idle, leased and waited for") {
  Rig rig{{4, 1}};
  auto& read = rig.acquire(Purpose::primary_read);
  auto& write = rig.acquire(Purpose::write);
  rig.give_back(rig.acquire(Purpose::write));
  rig.backend.set_forward(2s);
  auto const report = rig.pool.report();
  CHECK(report.max_connections == 4);
  CHECK(report.reserved_for_writes == 1);
  CHECK(report.open == 3);
  CHECK(report.idle == 1);
  CHECK(report.leased_to_reads == 1);
  CHECK(report.leased_to_writes == 1);
  CHECK(report.leased_to_this_thread == 2);
  CHECK(report.waiting == 0);
  CHECK(report.longest_lease >= 2s);
  CHECK(report.longest_lease < 12s);
  rig.give_back(read);
  rig.give_back(write);
  CHECK(rig.pool.report().longest_lease == 0s);
}

TEST_CASE("a connection of an older epoch is closed at checkout") {
  Rig rig;
  rig.give_back(rig.acquire(Purpose::replica_read));
  auto& slot = rig.acquire(Purpose::replica_read, 1s, 2);
  CHECK(rig.meter.opened == 2);
  CHECK(rig.meter.open == 1);
  CHECK(slot.epoch == 2);
  rig.give_back(slot, true, 2);
  CHECK(rig.pool.report().idle == 1);
}

TEST_CASE("a connection of an older epoch is closed on its return") {
  Rig rig;
  auto& slot = rig.acquire(Purpose::replica_read);
  rig.give_back(slot, true, 2);
  CHECK(rig.meter.open == 0);
  CHECK(rig.pool.report().open == 0);
}

TEST_CASE("idle connections of an older epoch go at the next reaping") {
  Rig rig;
  auto& first = rig.acquire(Purpose::replica_read);
  rig.give_back(rig.acquire(Purpose::replica_read));
  rig.pool.reap(1);
  CHECK(rig.meter.open == 2);
  rig.pool.reap(2);
  CHECK(rig.meter.open == 1);
  rig.give_back(first, true, 2);
  CHECK(rig.meter.open == 0);
}

TEST_CASE("a waiter of a newer epoch does not get an older connection") {
  Rig rig{{1}};
  auto& held = rig.acquire(Purpose::replica_read);
  std::uint32_t epoch = 0;
  std::thread waiter{[&] {
    auto& slot = rig.acquire(Purpose::replica_read, 30s, 2);
    epoch = slot.epoch;
    rig.give_back(slot, true, 2);
  }};
  CHECK(rig.queue_grows_to(1));
  rig.give_back(held);  // by somebody who has not heard of the new epoch yet
  waiter.join();
  CHECK(epoch == 2);
  CHECK(rig.meter.opened == 2);
  CHECK(rig.meter.most_open == 1);
}

TEST_CASE("a connection that died while idle is replaced at checkout") {
  Rig rig;
  auto& slot = rig.acquire(Purpose::replica_read);
  slot.connection->die();
  rig.give_back(slot);
  rig.backend.set_forward(1ms);  // what was in use a moment ago is taken at its word
  auto& again = rig.acquire(Purpose::replica_read);
  CHECK(again.connection->is_usable());
  CHECK(rig.meter.opened == 2);
  CHECK(rig.meter.open == 1);
  CHECK(rig.meter.most_open == 1);
  rig.give_back(again);
}

TEST_CASE("a connection that is returned as not reusable is closed") {
  Rig rig;
  rig.give_back(rig.acquire(Purpose::write), false);
  CHECK(rig.meter.open == 0);
  CHECK(rig.pool.report().open == 0);
  CHECK(rig.pool.in_flight() == 0);
}

TEST_CASE("an idle connection is closed after its time, at a reaping or at the next checkout") {
  for (bool const is_reaped : {true, false}) {
    Rig rig{{10, 0, 10min, 24h}};
    rig.give_back(rig.acquire(Purpose::write));
    rig.pool.reap(1);
    rig.backend.set_forward(7min);  // less than three quarters
    rig.pool.reap(1);
    rig.give_back(rig.acquire(Purpose::write));
    rig.pool.reap(1);
    CHECK(rig.meter.opened == 1);
    rig.backend.set_forward(10min);
    if (is_reaped) {
      rig.pool.reap(1);
      CHECK(rig.meter.open == 0);
    } else {
      rig.give_back(rig.acquire(Purpose::write));
      CHECK(rig.meter.open == 1);
    }
    CHECK(rig.meter.opened - rig.meter.open == 1);
  }
}

TEST_CASE("connections opened at once are closed between three quarters of their lifetime and the whole, not at once") {
  Rig rig{{100, 0, 24h, 1000s}};
  std::vector<Pool::Slot*> leased;
  for (int i = 0; i < 100; ++i) {
    leased.push_back(&rig.acquire(Purpose::write));
  }
  for (auto* slot : leased) {
    rig.give_back(*slot);
  }
  rig.backend.set_forward(740s);
  rig.pool.reap(1);
  CHECK(rig.meter.open == 100);
  rig.backend.set_forward(135s);
  rig.pool.reap(1);
  auto const halfway = rig.meter.open.load();
  CHECK(halfway > 20);
  CHECK(halfway < 80);
  rig.backend.set_forward(126s);
  rig.pool.reap(1);
  CHECK(rig.meter.open == 0);
}

TEST_CASE("a connection that outlived its time in a lease is not leased again") {
  for (bool const is_reaped : {true, false}) {
    Rig rig{{10, 0, 24h, 1000s}};
    auto& slot = rig.acquire(Purpose::write);
    rig.backend.set_forward(1001s);
    rig.pool.reap(1);
    CHECK(rig.meter.open == 1);  // never under its holder
    rig.give_back(slot);
    if (is_reaped) {
      rig.pool.reap(1);
      CHECK(rig.meter.open == 0);
    } else {
      static_cast<void>(rig.acquire(Purpose::write));
      CHECK(rig.meter.open == 1);
    }
    CHECK(rig.meter.opened - rig.meter.open == 1);
  }
}

TEST_CASE("a connection that is never idle for long is closed at the end of its lifetime, too") {
  Rig rig{{10, 0, 24h, 1s}};
  for (int i = 0; i < 10'500; ++i) {
    rig.give_back(rig.acquire(Purpose::write));
    rig.backend.set_forward(100us);
  }
  CHECK(rig.meter.opened == 2);
}

TEST_CASE("a connection that is used now and then is not closed for idleness") {
  Rig rig{{10, 0, 10min, 24h}};
  for (int i = 0; i < 4; ++i) {
    rig.give_back(rig.acquire(Purpose::write));
    rig.pool.reap(1);
    rig.backend.set_forward(5min);
    rig.pool.reap(1);
  }
  CHECK(rig.meter.opened == 1);
}

TEST_CASE("a connection that was leased for longer than the idle timeout is kept") {
  Rig rig{{10, 0, 10min, 24h}};
  auto& slot = rig.acquire(Purpose::write);
  rig.backend.set_forward(11min);
  rig.give_back(slot);
  rig.pool.reap(1);
  CHECK(rig.meter.open == 1);
  rig.give_back(rig.acquire(Purpose::write));
  CHECK(rig.meter.opened == 1);
}

TEST_CASE(
    "connections that fell idle at once are closed between three quarters of the timeout and the whole, not at once") {
  Rig rig{{100, 0, 1000s, 24h}};
  std::vector<Pool::Slot*> leased;
  for (int i = 0; i < 100; ++i) {
    leased.push_back(&rig.acquire(Purpose::write));
  }
  for (auto* slot : leased) {
    rig.give_back(*slot);
  }
  rig.pool.reap(1);
  rig.backend.set_forward(740s);
  rig.pool.reap(1);
  CHECK(rig.meter.open == 100);
  rig.backend.set_forward(135s);
  rig.pool.reap(1);
  auto const halfway = rig.meter.open.load();
  CHECK(halfway > 20);
  CHECK(halfway < 80);
  rig.backend.set_forward(126s);
  rig.pool.reap(1);
  CHECK(rig.meter.open == 0);
}

TEST_CASE("an opening that fails gives its place to the next waiter") {
  Rig rig{{1}};
  std::atomic<bool> may_fail{false};
  std::string told;
  std::thread opener{[&] {
    try {
      rig.pool.acquire(Purpose::write, 1, rig.backend.now(), rig.backend.now() + 30s,
                       [&](TimePoint) -> std::unique_ptr<PooledConnection> {
                         may_fail.wait(false);
                         throw std::runtime_error{"refused"};
                       });
    } catch (std::runtime_error const& error) {
      told = error.what();
    }
  }};
  CHECK(comes_to_hold([&] { return rig.pool.in_flight() == 1; }));
  std::vector<int> order;
  std::mutex order_mutex;
  {
    Caller waiting{rig, Purpose::write, 1, order, order_mutex};
    CHECK(rig.queue_grows_to(1));
    CHECK(rig.meter.opened == 0);
    may_fail = true;
    may_fail.notify_all();
    CHECK(comes_to_hold([&] { return waiting.is_served(); }));
  }
  opener.join();
  CHECK(told == "refused");
  CHECK(rig.pool.report().open == 1);
  CHECK(rig.pool.in_flight() == 0);
}

TEST_CASE("an opening that fails counts for nothing afterwards") {
  Rig rig{{1, 0}};
  for (auto const purpose : {Purpose::primary_read, Purpose::write, Purpose::replica_read}) {
    CHECK_THROWS_AS(
        rig.pool.acquire(purpose, 1, rig.backend.now(), rig.backend.now() + 1s,
                         [](TimePoint) -> std::unique_ptr<PooledConnection> { throw std::runtime_error{"refused"}; }),
        std::runtime_error);
    auto const report = rig.pool.report();
    CHECK(report.open == 0);
    CHECK(report.leased_to_reads + report.leased_to_writes == 0);
  }
  rig.give_back(rig.acquire(Purpose::primary_read, 1ms));
}

TEST_CASE("when the node is proven dead its leases are aborted, its waiters sent on and its idle connections closed") {
  Rig rig{{2}};
  auto& held = rig.acquire(Purpose::write);
  rig.give_back(rig.acquire(Purpose::write));
  rig.pool.abort_leased();
  CHECK(held.connection->is_aborted());
  CHECK(rig.meter.open == 1);
  CHECK(rig.pool.report().idle == 0);
  auto& other = rig.acquire(Purpose::write);  // the pool itself goes on
  CHECK_FALSE(other.connection->is_aborted());
  std::vector<int> order;
  std::mutex order_mutex;
  Caller waiting{rig, Purpose::write, 1, order, order_mutex};
  REQUIRE(rig.queue_grows_to(1));
  rig.pool.abort_leased();
  CHECK(comes_to_hold([&] { return waiting.is_interrupted(); }));
  CHECK(rig.pool.report().waiting == 0);
  rig.give_back(held, false);
  rig.give_back(other, false);
}

TEST_CASE("a connection that is still being opened when its node is proven dead is not given out") {
  Rig rig{{2}};
  CHECK_THROWS_AS(rig.pool.acquire(Purpose::write, 1, rig.backend.now(), rig.backend.now() + 30s,
                                   [&](TimePoint) {
                                     rig.pool.abort_leased();
                                     return rig.open();
                                   }),
                  PoolInterrupted);
  CHECK(rig.meter.opened == 1);
  CHECK(rig.meter.open == 0);
  CHECK(rig.pool.in_flight() == 0);
  rig.give_back(rig.acquire(Purpose::write, 1ms));
}

TEST_CASE("a closed pool leases nothing, sends waiters on, and closes what returns") {
  Rig rig{{1}};
  auto& held = rig.acquire(Purpose::write);
  std::vector<int> order;
  std::mutex order_mutex;
  Caller waiting{rig, Purpose::write, 1, order, order_mutex};
  REQUIRE(rig.queue_grows_to(1));
  rig.pool.close();
  CHECK(comes_to_hold([&] { return waiting.is_interrupted(); }));
  CHECK_FALSE(held.connection->is_aborted());  // what runs there ends in peace
  CHECK_THROWS_AS(rig.acquire(Purpose::write, 1ms), PoolInterrupted);
  rig.give_back(held);
  CHECK(rig.meter.open == 0);
  CHECK_THROWS_AS(rig.acquire(Purpose::write, 1ms), PoolInterrupted);
}

TEST_CASE("closing a pool closes what is idle") {
  Rig rig;
  rig.give_back(rig.acquire(Purpose::write));
  rig.pool.close();
  CHECK(rig.meter.open == 0);
}

TEST_CASE("a pool that is closed while a caller makes room in it leases nothing to that caller") {
  Rig rig{{1}};
  rig.give_back(rig.acquire(Purpose::write));
  rig.meter.on_close = [&] { rig.pool.close(); };
  CHECK_THROWS_AS(rig.acquire(Purpose::write, 1s, 2), PoolInterrupted);  // the idle connection is of an older epoch
  CHECK(rig.pool.in_flight() == 0);
}

TEST_CASE("a place is free only once the connection that had it is closed") {
  Rig rig{{1}};
  std::atomic<bool> may_close{false};
  std::atomic<bool> is_closing{false};
  auto& held = rig.acquire(Purpose::write);
  rig.meter.on_close = [&] {
    is_closing = true;
    may_close.wait(false);
  };
  std::vector<int> order;
  std::mutex order_mutex;
  {
    Caller waiting{rig, Purpose::write, 1, order, order_mutex};
    REQUIRE(rig.queue_grows_to(1));
    std::thread returning{[&] { rig.give_back(held, false); }};
    CHECK(comes_to_hold([&] { return is_closing.load(); }));
    // A caller that would open too early has all the time in the world to do so.
    CHECK(contains(timeout_text(rig, Purpose::write), "of at most 1"));
    CHECK_FALSE(waiting.is_served());
    may_close = true;
    may_close.notify_all();
    CHECK(comes_to_hold([&] { return waiting.is_served(); }));
    returning.join();
  }
  CHECK(rig.meter.most_open == 1);
}

TEST_CASE("no lock is held while a connection is opened or closed") {
  Rig rig{{2}};
  std::atomic<int> looked{0};
  rig.meter.on_close = [&] { looked += rig.pool.report().max_connections == 2 ? 1 : 0; };
  auto const look_and_open = [&](TimePoint) {
    looked += rig.pool.report().open == 1 ? 1 : 0;
    return rig.open();
  };
  auto& slot = rig.pool.acquire(Purpose::write, 1, rig.backend.now(), rig.backend.now() + 1s, look_and_open);
  CHECK(looked == 1);
  rig.give_back(slot, false);
  CHECK(looked == 2);
  rig.give_back(rig.acquire(Purpose::write));
  rig.pool.reap(2);
  CHECK(looked == 3);
  rig.give_back(rig.acquire(Purpose::write));
  rig.pool.abort_leased();
  CHECK(looked == 4);
  rig.give_back(rig.acquire(Purpose::write));
  rig.give_back(rig.acquire(Purpose::write, 1s, 2), true, 2);
  CHECK(looked == 5);
  rig.pool.close();
  CHECK(looked == 6);
}

TEST_CASE("two hundred threads share five connections: all are served or told, nothing is leaked") {
  constexpr int callers = 200;
  constexpr int rounds = 20;
  constexpr int most = 5;
  for (bool const node_dies_now_and_then : {false, true}) {
    Rig rig{{most, 2, 10min, 30min}};
    std::atomic<int> served{0};
    std::atomic<int> timed_out{0};
    std::atomic<int> refused{0};
    std::atomic<int> interrupted{0};
    std::atomic<int> leased{0};
    std::atomic<int> reads{0};
    std::atomic<int> violations{0};
    std::vector<std::thread> threads;
    for (int caller = 0; caller < callers; ++caller) {
      threads.emplace_back([&, caller] {
        std::uint64_t dice = 0x9E3779B97F4A7C15U * static_cast<std::uint64_t>(caller + 1);
        auto const roll = [&](std::uint64_t sides) {
          dice = dice * 6364136223846793005U + 1442695040888963407U;
          return (dice >> 33U) % sides;
        };
        for (int round = 0; round < rounds; ++round) {
          auto const purpose = roll(3) == 0 ? Purpose::write : Purpose::primary_read;
          Duration const patience = roll(10) == 0 ? Duration{1us} : Duration{60s};
          bool const fails = roll(20) == 0;
          try {
            auto& slot = rig.pool.acquire(purpose, 1, rig.backend.now(), rig.backend.now() + patience, [&](TimePoint) {
              if (fails) {
                throw std::runtime_error{"refused"};
              }
              return rig.open();
            });
            bool const is_read = purpose != Purpose::write;
            violations += ++leased > most ? 1 : 0;
            violations += is_read && ++reads > most - 2 ? 1 : 0;
            violations += slot.connection == nullptr ? 1 : 0;
            std::this_thread::yield();
            reads -= is_read ? 1 : 0;
            --leased;
            ++served;
            rig.give_back(slot, roll(15) != 0);
          } catch (PoolTimeout const&) {
            ++timed_out;
          } catch (PoolInterrupted const&) {
            ++interrupted;
          } catch (std::runtime_error const&) {
            ++refused;
          }
          if (node_dies_now_and_then && roll(500) == 0) {
            rig.pool.abort_leased();
          }
          if (roll(50) == 0) {
            rig.pool.reap(1);
          }
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    auto const report = rig.pool.report();
    INFO(served << " served, " << timed_out << " timed out, " << refused << " refused, " << interrupted
                << " interrupted");
    CHECK(served + timed_out + refused + interrupted == callers * rounds);
    CHECK(violations == 0);
    CHECK(rig.meter.most_open <= most);
    CHECK(report.waiting == 0);
    CHECK(report.leased_to_reads + report.leased_to_writes == 0);
    CHECK(report.open == report.idle);
    CHECK(rig.meter.open == static_cast<int>(report.open));
    CHECK(rig.pool.in_flight() == 0);
    if (node_dies_now_and_then) {
      CHECK(served > 0);
    } else {
      CHECK(interrupted == 0);
      CHECK(served > callers * rounds * 8 / 10);
      CHECK(timed_out < callers * rounds * 15 / 100);
    }
    rig.pool.close();
    CHECK(rig.meter.open == 0);
  }
}
