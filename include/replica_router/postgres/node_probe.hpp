// How is one node asked how it is, without ever waiting for it? A state machine over one non-blocking connection.
#pragma once

#include <libpq-fe.h>
#include <poll.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "replica_router/pool/begin_failure.hpp"
#include "replica_router/postgres/conninfo.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/postgres/probe_question.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/probe_answer.hpp"
#include "replica_router/topology/probe_event.hpp"

namespace replica_router {

/// The probe of one node: its connection, and what is under way on it. What becomes of it is put into `events`.
///
/// Thread safety: none. Lifetime: `conninfo` and `events` must outlive it.
template <class Address = ConnInfo, class Told = ProbeEvent, class Connection = PgConnection, class Result = PgResult>
class NodeProbe {
 public:
  NodeProbe(NodeId id, Address const& conninfo, std::vector<Told>& events)
      : id_{id}, conninfo_{&conninfo}, events_{&events} {}

  /// Where the node is reached.
  Address const& conninfo() const { return *conninfo_; }

  /// Puts the health question to the node, connecting first if need be. The answer is late after `late_at`, and again
  /// each `late_every`.
  void ask(TimePoint late_at, Duration late_every) {
    late_at_ = late_at;
    late_every_ = late_every;
    is_retried_ = false;
    is_asked_ = true;
    if (connection_ && phase_ == Phase::ready) {
      send();
    } else {
      connect();
    }
  }

  /// Whether there is a socket to be waited for.
  bool has_socket() const { return connection_ != nullptr; }
  /// The socket, and what is to be waited for on it.
  pollfd socket() const { return {PQsocket(connection_.get()), wants_, 0}; }

  /// When the answer that is owed becomes late; `TimePoint::max()` when none is.
  TimePoint late_at() const { return is_asked_ ? late_at_ : TimePoint::max(); }

  /// Says so when the answer is late.
  void look_at_clock(TimePoint now) {
    if (now >= late_at()) {
      late_at_ = now + late_every_;
      events_->push_back({id_, ProbeFailure::late, "does not answer", {}});
    }
  }

  /// Something can be read from or written to the probe's socket.
  void advance() {
    PGconn* const connection = connection_.get();
    if (phase_ == Phase::connecting) {
      switch (PQconnectPoll(connection)) {
        case PGRES_POLLING_READING: wants_ = POLLIN; return;
        case PGRES_POLLING_WRITING: wants_ = POLLOUT; return;
        case PGRES_POLLING_OK:
          PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
          PQsetnonblocking(connection, 1);
          phase_ = Phase::identifying;
          send();
          return;
        case PGRES_POLLING_FAILED:
        case PGRES_POLLING_ACTIVE: {
          auto const failure = failure_of_attempt(connection);
          fail(failure.kind(), failure.what());
          return;
        }
      }
      return;
    }
    if (PQconsumeInput(connection) == 0) {
      lose();
      return;
    }
    if (phase_ == Phase::ready) {
      return;  // a notice or a changed parameter
    }
    if (!flush()) {
      return;
    }
    while (PQisBusy(connection) == 0) {
      Result next{PQgetResult(connection)};
      if (!next) {
        auto const answer = std::move(answer_);
        take(answer.get());
        return;
      }
      answer_ = std::move(next);
    }
  }

 private:
  enum class Phase : std::uint8_t { connecting, identifying, ready, asking };

  void connect() {
    try {
      auto conninfo = *conninfo_;
      conninfo.add_server_setting("statement_timeout", "0");  // the probe has its own, and it is no error of the node's
      connection_ = start_connecting<Connection>(conninfo);
      phase_ = Phase::connecting;
      wants_ = POLLOUT;
      question_ = ProbeQuestion{};
    } catch (ConnectFailure const& failure) {
      fail(failure.kind(), failure.what());
    }
  }

  void send() {
    sent_at_ = TimePoint::clock::now();
    bool const is_identifying = phase_ == Phase::identifying;
    auto const sql = is_identifying ? std::string{identity_question} : question_.sql();
    if (PQsendQuery(connection_.get(), sql.c_str()) != 1) {
      lose();
      return;
    }
    if (!is_identifying) {
      phase_ = Phase::asking;
    }
    flush();
  }

  /// False when the connection was lost on the way; another may stand in its place then.
  bool flush() {
    int const left = PQflush(connection_.get());
    if (left < 0) {
      lose();
      return false;
    }
    wants_ = static_cast<short>(left > 0 ? POLLIN | POLLOUT : POLLIN);
    return true;
  }

  /// A whole answer has arrived.
  void take(PGresult const* result) {
    bool const is_answer = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
    if (!is_answer && PQstatus(connection_.get()) == CONNECTION_BAD) {
      lose();
      return;
    }
    if (phase_ == Phase::identifying) {
      if (is_answer) {
        question_.identified(result);
      }
      phase_ = Phase::ready;
      send();
      return;
    }
    if (!is_answer) {
      if (question_.falls_back(result)) {
        phase_ = Phase::ready;
        send();
      } else {
        fail(ProbeFailure::rejected, on_one_line(PQresultErrorMessage(result)));
      }
      return;
    }
    auto answer = question_.answered(result);
    answer.asked_at = sent_at_;
    answer.round_trip = TimePoint::clock::now() - sent_at_;
    phase_ = Phase::ready;
    wants_ = POLLIN;
    is_asked_ = false;
    events_->push_back({id_, {}, {}, answer});
  }

  /// The connection broke. An answer that is owed is asked for once more on a new one: the server may just have ended
  /// this connection. A probe at rest only tells, so that it is asked again at once.
  void lose() {
    auto const reason = message_of(connection_.get());
    answer_.reset();
    connection_.reset();
    if (!is_asked_) {
      phase_ = Phase::connecting;
      events_->push_back({id_, ProbeFailure::lost, reason, {}});
    } else if (!is_retried_) {
      is_retried_ = true;
      connect();
    } else {
      fail(ProbeFailure::refused, reason);
    }
  }

  void fail(ProbeFailure failure, std::string reason) {
    answer_.reset();
    connection_.reset();
    phase_ = Phase::connecting;
    is_asked_ = false;
    events_->push_back({id_, failure, std::move(reason), {}});
  }

  NodeId id_;
  Address const* conninfo_;
  std::vector<Told>* events_;
  Connection connection_{};
  Result answer_{};  // what has arrived so far; its end may come in a later packet
  ProbeQuestion question_{};
  Phase phase_ = Phase::connecting;
  short wants_ = 0;
  bool is_asked_ = false;    // an answer is owed
  bool is_retried_ = false;  // the connection was lost and is being made anew for the same question
  TimePoint sent_at_ = never;
  TimePoint late_at_ = never;
  Duration late_every_{};
};

}  // namespace replica_router
