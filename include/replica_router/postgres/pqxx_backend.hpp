// Where does the router meet the real world? Connections, probes, failures, time and threads, all from here.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "replica_router/endpoint.hpp"
#include "replica_router/failure.hpp"
#include "replica_router/pool/pool_slot.hpp"
#include "replica_router/postgres/conninfo.hpp"
#include "replica_router/postgres/entropy_source.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/postgres/pqxx_connection.hpp"
#include "replica_router/postgres/pqxx_prober.hpp"
#include "replica_router/postgres/sqlstate.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// Runs the monitor's loop on a thread of its own until it goes out of scope.
class ProbingThread {
 public:
  template <class Monitor>
  explicit ProbingThread(Monitor& monitor)
      : wake_{[&monitor] { monitor.wake(); }}, thread_{[this, &monitor] {
          while (!is_stopping_.load(std::memory_order_relaxed)) {
            monitor.step(TimePoint::max());
          }
        }} {}
  ProbingThread(ProbingThread const&) = delete;
  ProbingThread& operator=(ProbingThread const&) = delete;
  ~ProbingThread() {
    is_stopping_.store(true, std::memory_order_relaxed);
    wake_();
    thread_.join();
  }

 private:
  std::atomic<bool> is_stopping_{false};
  std::function<void()> wake_;
  std::thread thread_;
};

/// The real backend: libpqxx over libpq, the monotonic clock, one probing thread.
///
/// Whatever offers the same members can stand in its place, such as a simulation in virtual time.
/// Thread safety: all calls.
class PqxxBackend {
 public:
  using Address = ConnInfo;
  using Connection = PqxxConnection<>;
  using Prober = PqxxProber<>;
  using Background = ProbingThread;
  /// What a read's function is handed.
  using ReadTransaction = pqxx::transaction_base;
  /// What a write's function is handed.
  using WriteTransaction = pqxx::dbtransaction;

  /// The moment it is now.
  TimePoint now() const { return TimePoint::clock::now(); }

  /// Uniformly random bits.
  std::uint64_t entropy() const { return entropy_.draw(); }

  /// How the endpoint is connected to: read-only by default, so that a write in a read is the same clear error on every
  /// node, the primary too.
  template <class Made = Address>
  Made address_of(Endpoint const& endpoint) const {
    auto address = Made::parse(endpoint.conninfo);
    address.add_server_setting("default_transaction_read_only", "on");
    if (!address.is_given("fallback_application_name")) {
      address.set("fallback_application_name", "replica_router");
    }
    return address;
  }

  /// Opens a connection by `deadline`, or gives up soon after `is_hopeless()`. Throws: `ConnectFailure`.
  template <class Hopeless, class Made = Connection>
  std::unique_ptr<Made> connect(Address address, Access access, TimePoint deadline, Hopeless&& is_hopeless) const {
    if (access == Access::read_write) {
      address.add_server_setting("default_transaction_read_only", "off");  // the later setting counts
    }
    return std::make_unique<Made>(connect_until(address, deadline, is_hopeless), access);
  }

  /// The prober of a new monitor.
  template <class Made = Prober>
  Made make_prober() const {
    return Made{};
  }

  /// Waits to be notified. False when `deadline` has passed.
  bool wait_until(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, TimePoint deadline) const {
    return condition.wait_until(lock, deadline) == std::cv_status::no_timeout;
  }

  /// What the exception that is being handled says of the statement, the connection or the node; nothing when it is no
  /// error of the database's, but the user's own. To be called in a `catch` block.
  template <class Told = Failure, class Used>
  std::optional<Told> failure_in_flight(Used const& connection) const {
    // The order matters: in both versions of libpqxx a wrong parameter count arrives as a protocol_violation, which is
    // a broken_connection in 7.10 although the connection lives.
    try {
      throw;
    } catch (WriteFenced const&) {
      return Failure::read_only;
    } catch (pqxx::in_doubt_error const&) {
      return Failure::statement;
    } catch (pqxx::statement_completion_unknown const&) {
      return Failure::statement;
    } catch (pqxx::protocol_violation const&) {
      return connection.is_lost() ? Failure::connection_lost : Failure::statement;
    } catch (pqxx::broken_connection const&) {
      // The user's function may talk to other databases; only our own connection's loss is ours to mend.
      return connection.is_lost() ? std::optional<Told>{Failure::connection_lost} : std::nullopt;
    } catch (pqxx::sql_error const& error) {
      if (connection.is_lost()) {
        return Failure::connection_lost;
      }
      return classify_sqlstate(std::string_view{error.sqlstate()});
    } catch (pqxx::failure const&) {
      return connection.is_lost() ? std::optional<Told>{Failure::connection_lost} : std::nullopt;
    } catch (...) {
      return std::nullopt;
    }
  }

 private:
  EntropySource entropy_;
};

}  // namespace replica_router
