// How does a write begin and end? A transaction on the primary whose commit brings its log position home.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/causality/settlement.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/pool/begin_failure.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/postgres/pqxx_compatibility.hpp"
#include "replica_router/transaction_modes.hpp"
#include "replica_router/write_options.hpp"

namespace replica_router {

/// What keeps a write off a standby before any statement of the user's has run.
enum class Fence : std::uint8_t {
  begin,       ///< `BEGIN READ WRITE`, which a standby refuses
  connection,  ///< the server said that it is no standby; it cannot become one without closing the connection
};

/// A transaction on the primary.
///
/// Thread safety: none, like every libpqxx transaction. Lifetime: must end before its connection.
template <class Result = PgResult>
class WriteTransaction final : public CustomTransaction {
 public:
  /// `knows_position` is the connection's: whether it has the prepared statement that asks for the position.
  WriteTransaction(pqxx::connection& connection, PGconn* raw, WriteOptions const& options, Fence fence,
                   CommitPosition position, bool& knows_position)
      : CustomTransaction{connection}, raw_{raw}, position_{position}, knows_position_{knows_position} {
    try {
      begin(options, fence);
    } catch (pqxx::sql_error const& error) {
      end();
      std::string_view const sqlstate{error.sqlstate()};
      // A standby says 0A000 (feature_not_supported) to READ WRITE and to SERIALIZABLE.
      if (sqlstate == "0A000" || sqlstate == "25006") {  // 25006 (read_only_sql_transaction)
        throw WriteFenced{on_one_line(error.what())};
      }
      throw;
    } catch (...) {
      end();
      throw;
    }
  }
  ~WriteTransaction() override { end(); }

  /// Whether the server has confirmed the commit.
  bool is_committed() const { return is_committed_; }
  /// Whether `COMMIT` was sent and no answer came back.
  bool is_in_doubt() const { return is_in_doubt_; }
  /// The primary's insert position just after the commit; nothing when it was not captured.
  std::optional<Lsn> commit_lsn() const { return commit_lsn_; }
  /// What the transaction is known by, taken only with `WriteOptions::exactly_once`; its id is zero otherwise.
  TransactionMark mark() const { return mark_; }

 private:
  void begin(WriteOptions const& options, Fence fence) {
    std::string sql{"BEGIN"};
    switch (options.isolation) {
      case Isolation::server_default: break;
      case Isolation::read_committed: sql += " ISOLATION LEVEL READ COMMITTED"; break;
      case Isolation::repeatable_read: sql += " ISOLATION LEVEL REPEATABLE READ"; break;
      case Isolation::serializable: sql += " ISOLATION LEVEL SERIALIZABLE"; break;
    }
    if (fence == Fence::begin) {
      sql += " READ WRITE";
    }
    if (options.exactly_once) {
      sql += "; SELECT pg_current_xact_id()::text, pg_current_wal_flush_lsn()";
    }
    auto const begun = run(sql.c_str());
    if (options.exactly_once) {
      mark_ = {std::strtoull(PQgetvalue(begun.get(), 0, 0), nullptr, 10),
               Lsn::parse(PQgetvalue(begun.get(), 0, 1)).value_or(Lsn{})};
    }
  }

  /// Runs a statement of our own outside libpqxx's bookkeeping. Throws: as libpqxx does.
  Result run(char const* sql) {
    Result result{PQexec(raw_, sql)};
    auto const outcome = PQresultStatus(result.get());
    if (outcome != PGRES_COMMAND_OK && outcome != PGRES_TUPLES_OK) {
      if (PQstatus(raw_) != CONNECTION_OK) {
        throw pqxx::broken_connection{"connection to the primary lost: " + message_of(raw_)};
      }
      throw_as_pqxx(result.get(), sql);
    }
    return result;
  }

  void send_commit() override {
    switch (PQtransactionStatus(raw_)) {
      case PQTRANS_INTRANS: break;
      case PQTRANS_INERROR:
        // COMMIT would be answered ROLLBACK, without an error.
        run("ROLLBACK");
        throw TransactionRolledBack{
            "the transaction was rolled back, not committed: a statement in it had failed and its error was swallowed; "
            "let the error pass, or guard the statement with a pqxx::subtransaction"};
      case PQTRANS_IDLE:
        throw UsageError{
            "nothing to commit: the transaction was ended by a COMMIT or ROLLBACK sent as a statement; "
            "call commit() instead"};
      case PQTRANS_ACTIVE:
      case PQTRANS_UNKNOWN:
        throw pqxx::broken_connection{"connection to the primary lost before COMMIT was sent: nothing was committed"};
    }
    char const* sql = "COMMIT";
    if (position_ == CommitPosition::captured) {
      // Prepared by the first commit, so that the server need not plan it each time: a third of what it would cost.
      sql = knows_position_ ? "COMMIT; EXECUTE replica_router_position"
                            : "COMMIT; PREPARE replica_router_position AS SELECT pg_current_wal_insert_lsn(); "
                              "EXECUTE replica_router_position";
    }
    Result failed;
    bool is_answered = false;
    bool is_rolled_back = false;
    if (PQsendQuery(raw_, sql) == 1) {
      // All results are read to the end: an error in a later one does not undo the first.
      while (Result result{PQgetResult(raw_)}) {
        auto const outcome = PQresultStatus(result.get());
        if (!is_answered) {
          std::string_view const tag{PQcmdStatus(result.get())};
          is_answered = outcome == PGRES_COMMAND_OK;
          is_committed_ = is_answered && tag == "COMMIT";
          is_rolled_back = is_answered && !is_committed_;
          if (!is_answered && !failed) {
            failed = std::move(result);
          }
        } else if (is_committed_ && outcome == PGRES_TUPLES_OK && PQntuples(result.get()) == 1) {
          commit_lsn_ = Lsn::parse(PQgetvalue(result.get(), 0, 0));
          knows_position_ = true;
        } else if (sqlstate_of(result.get()) == "26000") {  // 26000 (invalid_sql_statement_name): by DEALLOCATE ALL
          knows_position_ = false;
        } else if (sqlstate_of(result.get()) == "42P05") {  // 42P05 (duplicate_prepared_statement)
          knows_position_ = true;
        }
      }
    }
    if (is_committed_) {
      return;
    }
    if (PQstatus(raw_) == CONNECTION_BAD) {
      is_in_doubt_ = true;
      throw CommitInDoubt{"the connection to the primary was lost while COMMIT was under way (" + message_of(raw_) +
                          "): the transaction may or may not have been committed; check, or use exactly_once"};
    }
    if (failed) {
      throw_as_pqxx(failed.get(), sql);
    }
    throw TransactionRolledBack{is_rolled_back ? "the server answered COMMIT with ROLLBACK: nothing was committed"
                                               : "COMMIT was not answered: nothing was committed"};
  }

  PGconn* raw_;
  CommitPosition position_;
  bool& knows_position_;
  bool is_committed_ = false;
  bool is_in_doubt_ = false;
  std::optional<Lsn> commit_lsn_;
  TransactionMark mark_;
};

}  // namespace replica_router
