// What is a server asked, and what does its answer say? The questions of a probe, and how answers to them are read.
#pragma once

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/probe_answer.hpp"

namespace replica_router {

/// How the health question is put; a server that refuses or lacks a function is asked the next form.
/// The position is taken after the role: recovery can end between the two, but it cannot begin again. A replica's
/// timeline is its WAL receiver's, which only `pg_read_all_stats` may see; else its last checkpoint's, which lags
/// behind. The function, not the view around it: the view costs three times as much.
inline constexpr std::array probe_questions{
    "SELECT standby, CASE WHEN standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, timeline, "
    "CASE WHEN standby AND timeline IS NULL THEN (SELECT timeline_id FROM pg_control_checkpoint()) END, "
    "CASE WHEN NOT standby THEN pg_current_wal_flush_lsn() END FROM (SELECT standby, "
    "CASE WHEN standby THEN (SELECT received_tli FROM pg_stat_get_wal_receiver()) "
    "ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END AS timeline "
    "FROM pg_is_in_recovery() AS standby OFFSET 0) AS node",
    "SELECT standby, CASE WHEN standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, NULL, NULL, "
    "CASE WHEN NOT standby THEN pg_current_wal_flush_lsn() END FROM pg_is_in_recovery() AS standby",
    "SELECT pg_is_in_recovery(), NULL, NULL, NULL, NULL",
};

/// Asks for what does not change while the server runs, once a connection.
inline constexpr char const* identity_question =
    "SELECT system_identifier, (SELECT setting FROM pg_settings WHERE name = 'wal_writer_delay') FROM "
    "pg_control_system()";

/// Whether the server refused or lacks a function, rather than failed to run it.
inline bool is_refusal_of_a_fact(std::string_view sqlstate) {
  return sqlstate == "42883"      // undefined_function
         || sqlstate == "42501"   // insufficient_privilege
         || sqlstate == "42P01"   // undefined_table
         || sqlstate == "42703"   // undefined_column
         || sqlstate == "0A000";  // feature_not_supported
}

/// The health question as one server can be asked it, and what is known of that server from earlier answers. For the
/// time of one connection: the next may reach another server.
class ProbeQuestion {
 public:
  /// The health question, in the form that this server answers as far as is known. Prepared by the first that is
  /// asked: so it costs the server a quarter.
  std::string sql() const {
    std::string question{probe_questions[form_]};
    auto const name = "replica_router_probe_" + std::to_string(form_);
    switch (manner_) {
      case Manner::preparing: return "PREPARE " + name + " AS " + question + "; EXECUTE " + name;
      case Manner::prepared: return "EXECUTE " + name;
      case Manner::plain: break;
    }
    return question;
  }

  /// Takes in the one row that answers `identity_question`.
  void identified(PGresult const* row) {
    system_identifier_ = std::strtoull(PQgetvalue(row, 0, 0), nullptr, 10);
    flush_delay_ = 3 * std::chrono::milliseconds{std::strtol(PQgetvalue(row, 0, 1), nullptr, 10)};
  }

  /// Takes in an error. True when the question is to be asked again, otherwise: a fact that the server refuses is
  /// unknown, it does not fail the probe.
  bool falls_back(PGresult const* error) {
    auto const sqlstate = sqlstate_of(error);
    // 26000 (invalid_sql_statement_name), 42P05 (duplicate_prepared_statement): this connection leads to several of the
    // server's, so a proxy is between.
    if (manner_ != Manner::plain && (sqlstate == "26000" || sqlstate == "42P05")) {
      manner_ = Manner::plain;
      return true;
    }
    if (!is_refusal_of_a_fact(sqlstate) || form_ + 1 == probe_questions.size()) {
      return false;
    }
    ++form_;
    manner_ = manner_ == Manner::plain ? Manner::plain : Manner::preparing;
    return true;
  }

  /// Takes in the one row that answers the health question, and reads it; when it was asked is left to the caller.
  ProbeAnswer answered(PGresult const* row) {
    manner_ = manner_ == Manner::plain ? Manner::plain : Manner::prepared;
    ProbeAnswer out;
    out.is_in_recovery = PQgetvalue(row, 0, 0)[0] == 't';
    out.position = position_in(row, 1);
    out.is_timeline_certain = PQgetisnull(row, 0, 2) == 0;
    for (int const column : {2, 3}) {
      if (PQgetisnull(row, 0, column) == 0) {
        auto const timeline = std::strtoul(PQgetvalue(row, 0, column), nullptr, 10);
        timeline_ = std::max(timeline_, static_cast<std::uint32_t>(timeline));
      }
    }
    out.flushed = position_in(row, 4);
    out.flush_delay = flush_delay_;
    out.timeline = timeline_;
    out.system_identifier = system_identifier_;
    return out;
  }

 private:
  enum class Manner : std::uint8_t { preparing, prepared, plain };

  static Lsn position_in(PGresult const* row, int column) {
    return PQgetisnull(row, 0, column) == 0 ? Lsn::parse(PQgetvalue(row, 0, column)).value_or(Lsn{}) : Lsn{};
  }

  std::size_t form_ = 0;
  Manner manner_ = Manner::preparing;
  std::uint64_t system_identifier_ = 0;
  Duration flush_delay_{};
  std::uint32_t timeline_ = 0;  // the highest seen on this connection: a running server never goes back
};

}  // namespace replica_router
