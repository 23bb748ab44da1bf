// What is a server asked, and what does its answer say? The questions of a probe, and how answers to them are read.
#pragma once

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/probe_answer.hpp"

namespace replica_router {

/// How the health question is put; a server that refuses or lacks a function is asked the next form.
/// The position is taken after the role: recovery can end between the two, but it cannot begin again. A replica's
/// timeline is its WAL receiver's, which only `pg_read_all_stats` may see; else its last checkpoint's, which lags
/// behind.
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
  /// The health question, in the form that this server answers as far as is known.
  char const* sql() const { return probe_questions[form_]; }

  /// Takes in the one row that answers `identity_question`.
  void identified(PGresult const* row) {
    system_identifier_ = std::strtoull(PQgetvalue(row, 0, 0), nullptr, 10);
    flush_delay_ = 3 * std::chrono::milliseconds{std::strtol(PQgetvalue(row, 0, 1), nullptr, 10)};
  }

  /// Takes in an error. True when the next form is to be asked: a fact that the server refuses is unknown, it does not
  /// fail the probe.
  bool falls_back(PGresult const* error) {
    if (!is_refusal_of_a_fact(sqlstate_of(error)) || form_ + 1 == probe_questions.size()) {
      return false;
    }
    ++form_;
    return true;
  }

  /// Takes in the one row that answers the health question, and reads it; when it was asked is left to the caller.
  ProbeAnswer answered(PGresult const* row) {
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
  static Lsn position_in(PGresult const* row, int column) {
    return PQgetisnull(row, 0, column) == 0 ? Lsn::parse(PQgetvalue(row, 0, column)).value_or(Lsn{}) : Lsn{};
  }

  std::size_t form_ = 0;
  std::uint64_t system_identifier_ = 0;
  Duration flush_delay_{};
  std::uint32_t timeline_ = 0;  // the highest seen on this connection: a running server never goes back
};

}  // namespace replica_router
