// How are all nodes asked how they are, at once, by one thread? Probing with non-blocking libpq.
#pragma once

#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "replica_router/pool/begin_failure.hpp"
#include "replica_router/postgres/conninfo.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/topology/probe_event.hpp"

namespace replica_router {

/// How the health question is put; a server that refuses or lacks a function is asked the next form.
/// The position is taken after the role: recovery can end between the two, but it cannot begin again. A replica's timeline
/// is its WAL receiver's, which only `pg_read_all_stats` may see; else its last checkpoint's, which lags behind.
inline constexpr std::array probe_questions{
    "SELECT pg_is_in_recovery(), "
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, "
    "CASE WHEN pg_is_in_recovery() "
    "THEN (SELECT received_tli FROM pg_stat_wal_receiver) "
    "ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, "
    "CASE WHEN pg_is_in_recovery() AND (SELECT received_tli FROM pg_stat_wal_receiver) IS NULL "
    "THEN (SELECT timeline_id FROM pg_control_checkpoint()) END, "
    "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END",
    "SELECT pg_is_in_recovery(), "
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, NULL, NULL, "
    "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END",
    "SELECT pg_is_in_recovery(), NULL, NULL, NULL, NULL",
};

/// Asks for what does not change while the server runs, once a connection.
inline constexpr char const* identity_question =
    "SELECT system_identifier, (SELECT setting FROM pg_settings WHERE name = 'wal_writer_delay') FROM pg_control_system()";

/// Probes any number of nodes from one thread without ever waiting for one of them alone.
///
/// Thread safety: one thread drives it; `wake()` may be called from any.
class PqxxProber {
 public:
  PqxxProber() {
    if (pipe(wake_.data()) != 0) {
      throw std::system_error{errno, std::generic_category(), "no pipe for the probing thread"};
    }
    for (int const end : wake_) {
      fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK);
      fcntl(end, F_SETFD, FD_CLOEXEC);
    }
  }
  PqxxProber(PqxxProber const&) = delete;
  PqxxProber& operator=(PqxxProber const&) = delete;
  ~PqxxProber() {
    for (int const end : wake_) {
      close(end);
    }
  }

  /// Puts the health question to a node, connecting first if need be. When no answer has come by `late_at` it says so,
  /// and again each `late_every`, until the answer comes or `forget` is called.
  void ask(NodeId id, ConnInfo const& conninfo, TimePoint now, TimePoint late_at, Duration late_every) {
    if (id >= probes_.size()) {
      probes_.resize(id + 1);
    }
    Probe& probe = probes_[id];
    if (probe.conninfo != &conninfo) {
      probe = Probe{};  // the number is another node's now
    }
    probe.conninfo = &conninfo;
    probe.asked_at = now;
    probe.late_at = late_at;
    probe.late_every = late_every;
    probe.is_retried = false;
    probe.is_asked = true;
    if (probe.connection && probe.phase == Phase::ready) {
      send(probe, id);
    } else {
      connect(probe, id);
    }
  }

  /// Drops the node's probe and its connection.
  void forget(NodeId id) {
    if (id < probes_.size()) {
      probes_[id] = Probe{};
    }
  }

  /// Waits until something happened, `until` has passed or `wake()` was called; returns what happened.
  std::vector<ProbeEvent> wait(TimePoint until) {
    if (events_.empty()) {
      poll_sockets(until);
    }
    auto const now = TimePoint::clock::now();
    for (NodeId id = 0; id < probes_.size(); ++id) {
      Probe& probe = probes_[id];
      if (probe.is_asked && now >= probe.late_at) {
        probe.late_at = now + probe.late_every;
        events_.push_back({id, ProbeFailure::late, "does not answer", {}});
      }
    }
    return std::exchange(events_, {});
  }

  /// Makes `wait` return. From any thread.
  void wake() noexcept {
    char const byte = 0;
    // A full pipe wakes just as well.
    [[maybe_unused]] auto const written = write(wake_[1], &byte, 1);
  }

 private:
  enum class Phase : std::uint8_t { connecting, identifying, ready, asking };

  struct Probe {
    ConnInfo const* conninfo = nullptr;
    PgConnection connection{};
    PgResult answer{};  ///< what has arrived so far; its end may come in a later packet
    Phase phase = Phase::connecting;
    short wants = 0;
    bool is_asked = false;    ///< an answer is owed
    bool is_retried = false;  ///< the connection was lost and is being made anew for the same question
    TimePoint asked_at = never;
    TimePoint sent_at = never;
    TimePoint late_at = never;
    Duration late_every{};
    std::size_t question = 0;  ///< the form of the question that this server answers
    std::uint64_t system_identifier = 0;
    Duration flush_delay{};
    std::uint32_t timeline = 0;  ///< the highest seen on this connection: a running server never goes back
  };

  void connect(Probe& probe, NodeId id) {
    try {
      auto conninfo = *probe.conninfo;
      conninfo.add_server_setting("statement_timeout", "0");  // the probe has its own, and it is no error of the node's
      probe.connection = start_connecting(conninfo);
      probe.phase = Phase::connecting;
      probe.wants = POLLOUT;
      probe.system_identifier = 0;
      probe.flush_delay = {};
      probe.timeline = 0;
      probe.question = 0;
    } catch (ConnectFailure const& failure) {
      fail(probe, id, failure.kind(), failure.what());
    }
  }

  void send(Probe& probe, NodeId id) {
    probe.sent_at = TimePoint::clock::now();
    bool const is_identifying = probe.phase == Phase::identifying;
    char const* const sql = is_identifying ? identity_question : probe_questions[probe.question];
    if (PQsendQuery(probe.connection.get(), sql) != 1) {
      lose(probe, id);
      return;
    }
    if (!is_identifying) {
      probe.phase = Phase::asking;
    }
    flush(probe, id);
  }

  /// False when the connection was lost on the way; another may stand in its place then.
  bool flush(Probe& probe, NodeId id) {
    int const left = PQflush(probe.connection.get());
    if (left < 0) {
      lose(probe, id);
      return false;
    }
    probe.wants = static_cast<short>(left > 0 ? POLLIN | POLLOUT : POLLIN);
    return true;
  }

  void poll_sockets(TimePoint until) {
    std::vector<pollfd> waited;
    std::vector<NodeId> owners;
    waited.push_back({wake_[0], POLLIN, 0});
    owners.push_back(no_node);
    for (NodeId id = 0; id < probes_.size(); ++id) {
      Probe const& probe = probes_[id];
      if (probe.is_asked) {
        until = std::min(until, probe.late_at);
      }
      if (probe.connection) {
        waited.push_back({PQsocket(probe.connection.get()), probe.wants, 0});
        owners.push_back(id);
      }
    }
    auto const count = poll(waited.data(), static_cast<nfds_t>(waited.size()),
                            poll_timeout(TimePoint::clock::now(), until));
    if (count <= 0) {
      return;
    }
    if (waited[0].revents != 0) {
      std::array<char, 64> drained{};
      while (read(wake_[0], drained.data(), drained.size()) > 0) {
      }
    }
    for (std::size_t i = 1; i < waited.size(); ++i) {
      if (waited[i].revents != 0) {
        advance(probes_[owners[i]], owners[i]);
      }
    }
  }

  /// Something can be read from or written to the probe's socket.
  void advance(Probe& probe, NodeId id) {
    PGconn* const connection = probe.connection.get();
    if (probe.phase == Phase::connecting) {
      switch (PQconnectPoll(connection)) {
        case PGRES_POLLING_READING: probe.wants = POLLIN; return;
        case PGRES_POLLING_WRITING: probe.wants = POLLOUT; return;
        case PGRES_POLLING_OK:
          PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
          PQsetnonblocking(connection, 1);
          probe.phase = Phase::identifying;
          send(probe, id);
          return;
        case PGRES_POLLING_FAILED:
        case PGRES_POLLING_ACTIVE: {
          auto const failure = failure_of_attempt(connection);
          fail(probe, id, failure.kind(), failure.what());
          return;
        }
      }
      return;
    }
    if (PQconsumeInput(connection) == 0) {
      lose(probe, id);
      return;
    }
    if (probe.phase == Phase::ready) {
      return;  // a notice or a changed parameter
    }
    if (!flush(probe, id)) {
      return;
    }
    while (PQisBusy(connection) == 0) {
      PgResult next{PQgetResult(connection)};
      if (!next) {
        auto const answer = std::move(probe.answer);
        take(probe, id, answer.get());
        return;
      }
      probe.answer = std::move(next);
    }
  }

  /// Whether the server refused or lacks a function, rather than failed to run it.
  static bool is_refusal_of_a_fact(std::string_view sqlstate) {
    return sqlstate == "42883"      // undefined_function
           || sqlstate == "42501"   // insufficient_privilege
           || sqlstate == "42P01"   // undefined_table
           || sqlstate == "42703"   // undefined_column
           || sqlstate == "0A000";  // feature_not_supported
  }

  /// A whole answer has arrived.
  void take(Probe& probe, NodeId id, PGresult const* result) {
    bool const is_answer = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
    if (!is_answer && PQstatus(probe.connection.get()) == CONNECTION_BAD) {
      lose(probe, id);
      return;
    }
    if (probe.phase == Phase::identifying) {
      if (is_answer) {
        probe.system_identifier = std::strtoull(PQgetvalue(result, 0, 0), nullptr, 10);
        probe.flush_delay = 3 * std::chrono::milliseconds{std::strtol(PQgetvalue(result, 0, 1), nullptr, 10)};
      }
      probe.phase = Phase::ready;
      send(probe, id);
      return;
    }
    if (!is_answer) {
      if (is_refusal_of_a_fact(sqlstate_of(result)) && probe.question + 1 < probe_questions.size()) {
        ++probe.question;  // a fact that the server refuses is unknown; it does not fail the probe
        probe.phase = Phase::ready;
        send(probe, id);
      } else {
        fail(probe, id, ProbeFailure::rejected, on_one_line(PQresultErrorMessage(result)));
      }
      return;
    }
    ProbeAnswer out;
    out.is_in_recovery = PQgetvalue(result, 0, 0)[0] == 't';
    if (PQgetisnull(result, 0, 1) == 0) {
      out.position = Lsn::parse(PQgetvalue(result, 0, 1)).value_or(Lsn{});
    }
    out.is_timeline_certain = PQgetisnull(result, 0, 2) == 0;
    for (int const column : {2, 3}) {
      if (PQgetisnull(result, 0, column) == 0) {
        probe.timeline = std::max(
            probe.timeline, static_cast<std::uint32_t>(std::strtoul(PQgetvalue(result, 0, column), nullptr, 10)));
      }
    }
    if (PQgetisnull(result, 0, 4) == 0) {
      out.flushed = Lsn::parse(PQgetvalue(result, 0, 4)).value_or(Lsn{});
    }
    out.flush_delay = probe.flush_delay;
    out.timeline = probe.timeline;
    out.system_identifier = probe.system_identifier;
    out.asked_at = probe.sent_at;
    out.round_trip = TimePoint::clock::now() - probe.sent_at;
    probe.phase = Phase::ready;
    probe.wants = POLLIN;
    probe.is_asked = false;
    events_.push_back({id, {}, {}, out});
  }

  /// The connection broke. An answer that is owed is asked for once more on a new one: the server may just have ended
  /// this connection. A probe at rest only tells, so that it is asked again at once.
  void lose(Probe& probe, NodeId id) {
    auto const reason = message_of(probe.connection.get());
    probe.answer.reset();
    probe.connection.reset();
    if (!probe.is_asked) {
      probe.phase = Phase::connecting;
      events_.push_back({id, ProbeFailure::lost, reason, {}});
    } else if (!probe.is_retried) {
      probe.is_retried = true;
      connect(probe, id);
    } else {
      fail(probe, id, ProbeFailure::refused, reason);
    }
  }

  void fail(Probe& probe, NodeId id, ProbeFailure failure, std::string reason) {
    probe.answer.reset();
    probe.connection.reset();
    probe.phase = Phase::connecting;
    probe.is_asked = false;
    events_.push_back({id, failure, std::move(reason), {}});
  }

  std::array<int, 2> wake_{};
  std::vector<Probe> probes_;
  std::vector<ProbeEvent> events_;
};

}  // namespace replica_router
