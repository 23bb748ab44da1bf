// How is a server reached without blocking longer than asked? Connecting with libpq, step by step.
#pragma once

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "replica_router/pool/begin_failure.hpp"
#include "replica_router/postgres/conninfo.hpp"
#include "replica_router/postgres/sqlstate.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// Closes a libpq connection.
struct PgFinish {
  void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};

/// An owned libpq connection.
using PgConnection = std::unique_ptr<PGconn, PgFinish>;

/// Frees a libpq result.
struct PgClear {
  void operator()(PGresult* result) const noexcept { PQclear(result); }
};

/// An owned libpq result.
using PgResult = std::unique_ptr<PGresult, PgClear>;

/// A message without its line breaks.
template <class Text = std::string>
Text on_one_line(std::type_identity_t<Text> message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) {
    message.pop_back();
  }
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::erase(message, '\t');
  return message;
}

/// libpq's latest message for the connection, on one line.
inline std::string message_of(PGconn const* connection) { return on_one_line(PQerrorMessage(connection)); }

/// The SQLSTATE of a result; empty when it has none, as when the connection broke.
inline std::string_view sqlstate_of(PGresult const* result) {
  char const* const field = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return field == nullptr ? std::string_view{} : std::string_view{field};
}

/// Milliseconds from `now` to `until` for `poll`, rounded up, at least zero and at most a minute.
inline int poll_timeout(TimePoint now, TimePoint until) {
  if (until <= now) {
    return 0;
  }
  auto const left =
      std::chrono::ceil<std::chrono::milliseconds>(std::min<Duration>(until - now, std::chrono::minutes{1}));
  return static_cast<int>(left.count());
}

/// Begins to connect; the caller drives it with `PQconnectPoll`.
/// Throws: `ConnectFailure` when libpq gives up at once, as for a host name that does not resolve.
template <class Connection = PgConnection, class Address>
Connection start_connecting(Address const& conninfo) {
  auto const keywords = conninfo.keywords();
  auto const values = conninfo.values();
  Connection connection{PQconnectStartParams(keywords.data(), values.data(), 0)};
  if (!connection) {
    throw std::bad_alloc{};
  }
  if (PQstatus(connection.get()) == CONNECTION_BAD) {
    throw ConnectFailure{ProbeFailure::refused, message_of(connection.get())};
  }
  PQsetErrorVerbosity(connection.get(), PQERRORS_VERBOSE);
  // By default libpq prints notices to standard error, and so the farewell of a server that goes down.
  PQsetNoticeProcessor(
      connection.get(), [](void*, char const*) {}, nullptr);
  return connection;
}

/// Turns a failed connection attempt into an error that says what it means for the node.
///
/// libpq keeps no SQLSTATE of a failed start-up, but in verbose mode (set by `start_connecting`) it prints it between
/// the severity and the text, whatever language the server speaks: `FATAL:  28P01: password authentication failed …`.
inline ConnectFailure failure_of_attempt(PGconn const* connection) {
  std::string reason{PQerrorMessage(connection)};
  std::string sqlstate;
  for (auto at = reason.find(":  "); at != std::string::npos; at = reason.find(":  ", at + 1)) {
    auto const code = reason.substr(at + 3, 5);
    bool const is_code = code.size() == 5 && reason.compare(at + 8, 2, ": ") == 0 &&
                         code.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string::npos;
    if (is_code) {
      sqlstate = code;
      reason.erase(at + 3, 7);
      break;
    }
  }
  reason.erase(std::min(reason.size(), reason.find("\nLOCATION:")));
  return ConnectFailure{probe_failure_of(sqlstate), on_one_line(std::move(reason))};
}

/// Connects, waiting no longer than `deadline` (resolution: milliseconds), and giving up soon after `is_hopeless()`
/// becomes true, as when the node was found to be dead meanwhile.
/// Throws: `ConnectFailure` with libpq's reason.
template <class Connection = PgConnection, class Address, class Hopeless>
Connection connect_until(Address const& conninfo, TimePoint deadline, Hopeless&& is_hopeless) {
  constexpr std::chrono::milliseconds slice{20};
  auto connection = start_connecting<Connection>(conninfo);
  auto state = PGRES_POLLING_WRITING;
  while (state != PGRES_POLLING_OK) {
    auto const now = TimePoint::clock::now();
    if (now >= deadline) {
      throw ConnectFailure{ProbeFailure::late, "no connection to " + conninfo.address() + " within the time allowed"};
    }
    if (is_hopeless()) {
      throw ConnectFailure{ProbeFailure::late,
                           "the node went down while a connection to " + conninfo.address() + " was made"};
    }
    pollfd waited{PQsocket(connection.get()), static_cast<short>(state == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    if (poll(&waited, 1, poll_timeout(now, std::min<TimePoint>(deadline, now + slice))) < 0 && errno != EINTR) {
      throw ConnectFailure{ProbeFailure::refused, "poll failed while connecting to " + conninfo.address()};
    }
    if (waited.revents == 0) {
      continue;
    }
    state = PQconnectPoll(connection.get());
    if (state == PGRES_POLLING_FAILED) {
      throw failure_of_attempt(connection.get());
    }
  }
  PQsetErrorVerbosity(connection.get(), PQERRORS_DEFAULT);
  return connection;
}

}  // namespace replica_router
