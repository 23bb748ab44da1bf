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
#include <system_error>
#include <utility>
#include <vector>

#include "replica_router/pool/begin_failure.hpp"
#include "replica_router/postgres/conninfo.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/topology/probe_event.hpp"

namespace replica_router {

/// How the health question is put; a server that refuses or lacks a function is asked the next form.
/// The position is taken after the role: recovery can end between the two, but it cannot begin again.
inline constexpr std::array probe_questions{
    "SELECT pg_is_in_recovery(), "
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, "
    "CASE WHEN pg_is_in_recovery() "
    "THEN COALESCE((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint())) "
    "ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END",
    "SELECT pg_is_in_recovery(), "
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, NULL",
    "SELECT pg_is_in_recovery(), NULL, NULL",
};

/// Asks for the cluster's identity, once a connection.
inline constexpr char const* identity_question = "SELECT system_identifier FROM pg_control_system()";

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
    std::uint32_t timeline = 0;  ///< the highest seen on this connection: a running server never goes back
  };

  void connect(Probe& probe, NodeId id) {
    try {
      probe.connection = start_connecting(*probe.conninfo);
      probe.phase = Phase::connecting;
      probe.wants = POLLOUT;
      probe.system_identifier = 0;
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

  void flush(Probe& probe, NodeId id) {
    int const left = PQflush(probe.connection.get());
    if (left < 0) {
      lose(probe, id);
    } else {
      probe.wants = static_cast<short>(left > 0 ? POLLIN | POLLOUT : POLLIN);
    }
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
    flush(probe, id);
    if (!probe.connection || PQisBusy(connection) != 0) {
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
      }
      probe.phase = Phase::ready;
      send(probe, id);
      return;
    }
    if (!is_answer) {
      if (probe.question + 1 < probe_questions.size()) {
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
    if (PQgetisnull(result, 0, 2) == 0) {
      probe.timeline = std::max(probe.timeline,
                                static_cast<std::uint32_t>(std::strtoul(PQgetvalue(result, 0, 2), nullptr, 10)));
    }
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
