// What does the pool hold? One libpqxx connection, with what libpqxx alone does not offer.
#pragma once

#include <libpq-fe.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/causality/settlement.hpp"
#include "replica_router/pool/pool_slot.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/postgres/pqxx_compatibility.hpp"
#include "replica_router/postgres/write_transaction.hpp"
#include "replica_router/transaction_modes.hpp"

namespace replica_router {

/// One connection: connected with libpq under a millisecond deadline, used through libpqxx, aborted from any thread.
///
/// Thread safety: none, but for `abort()`.
template <class Autocommit = pqxx::nontransaction,
          class Snapshot = pqxx::transaction<pqxx::isolation_level::repeatable_read, pqxx::write_policy::read_only>,
          class Write = WriteTransaction<>>
class PqxxConnection {
 public:
  template <class Connection = PgConnection>
  explicit PqxxConnection(std::type_identity_t<Connection> connection, Access access = Access::read_only)
      : raw_{connection.get()},
        access_{access},
        fence_{is_reported("in_hot_standby", "off") && access == Access::read_write ? Fence::connection : Fence::begin},
        // A duplicate of our own: libpq may close its descriptor at any moment, and the number is reused at once.
        abort_descriptor_{dup(PQsocket(raw_))},
        pqxx_{pqxx::connection::seize_raw_connection(connection.release())} {}
  PqxxConnection(PqxxConnection const&) = delete;
  PqxxConnection& operator=(PqxxConnection const&) = delete;
  ~PqxxConnection() {
    end();
    if (abort_descriptor_ >= 0) {
      close(abort_descriptor_);
    }
  }

  /// Breaks the connection, so that a statement blocked on a hung server returns at once. From any thread.
  void abort() noexcept {
    if (abort_descriptor_ >= 0) {
      shutdown(abort_descriptor_, SHUT_RDWR);
    }
  }

  /// Whether the idle connection can serve another lease, as far as the socket tells without a round trip.
  bool is_usable() noexcept {
    // libpq believes in a connection until the next statement, also when the server closed it long ago.
    for (int tries = 0; tries < 3; ++tries) {
      char byte = 0;
      auto const got = recv(PQsocket(raw_), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (got < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK;
      }
      // Something arrived meanwhile: a notice, a changed parameter, or the server's farewell.
      if (got == 0 || PQconsumeInput(raw_) == 0 || PQstatus(raw_) != CONNECTION_OK) {
        return false;
      }
    }
    return false;
  }

  /// Whether the connection, back from a lease, is as it was: alive, outside any transaction, with the access by
  /// default that it was opened with.
  bool is_reusable() const noexcept {
    if (PQstatus(raw_) != CONNECTION_OK || PQtransactionStatus(raw_) != PQTRANS_IDLE) {
      return false;
    }
    // On a standby, too: it may be promoted before the next lease.
    // Reported by PostgreSQL 14 and later; a server that does not report it cannot be asked without a round trip.
    return !is_reported("default_transaction_read_only", access_ == Access::read_only ? "off" : "on");
  }

  /// Whether libpq knows by now that the connection is gone.
  bool is_lost() const noexcept { return PQstatus(raw_) != CONNECTION_OK; }

  /// Opens the transaction object that a read runs its statements on.
  pqxx::transaction_base& begin_read(ReadMode mode) {
    if (mode == ReadMode::snapshot) {
      return snapshot_.emplace(pqxx_);
    }
    return autocommit_.emplace(pqxx_);
  }

  /// Opens a transaction on the primary.
  Write& begin_write(WriteOptions const& options, CommitPosition position) {
    return write_.emplace(pqxx_, raw_, options, fence_, position, knows_position_);
  }

  /// The transaction on the primary, if one was begun.
  Write* write() noexcept { return write_ ? &*write_ : nullptr; }

  /// Ends whatever was begun; what was not committed is rolled back.
  void end() noexcept {
    autocommit_.reset();
    snapshot_.reset();
    write_.reset();
  }

  /// How many of the router's prepared statements the connection knows.
  std::size_t prepared() const noexcept { return prepared_; }

  /// Prepares the router's next statement. Throws: the server's error.
  void prepare(std::string const& name, std::string const& sql) {
    pqxx_.prepare(name, sql);
    ++prepared_;
  }

  /// How far the replica has replayed, by its own word now: one round trip. Zero when it is no replica any more.
  Lsn replayed() { return Lsn::parse(value_of("SELECT COALESCE(pg_last_wal_replay_lsn(), '0/0')")).value_or(Lsn{}); }

  /// The primary's insert position now: one round trip.
  Lsn inserted() { return Lsn::parse(value_of("SELECT pg_current_wal_insert_lsn()")).value_or(Lsn{}); }

  /// What became of a transaction whose COMMIT was not answered: one round trip.
  Settlement outcome_of(TransactionMark const& mark) {
    pqxx::nontransaction tx{pqxx_};
    try {
      auto const row = tx.exec("SELECT COALESCE(pg_xact_status('" + std::to_string(mark.id) +
                               "'::xid8), ''), checkpoint_lsn, redo_lsn, split_part(next_xid, ':', 1)::int8 << 32 | "
                               "split_part(next_xid, ':', 2)::int8 FROM pg_control_checkpoint()")
                           .at(0);
      auto const lsn = [&](int column) { return Lsn::parse(row.at(column).c_str()).value_or(Lsn{}); };
      return settled(row.at(0).c_str(), mark, {lsn(1), lsn(2), row.at(3).as<std::uint64_t>()});
    } catch (pqxx::sql_error const& error) {
      if (error.sqlstate() == "22023") {  // 22023 (invalid_parameter_value): an id of the future, lost in a crash
        return Settlement::aborted;
      }
      throw;
    }
  }

 private:
  /// Whether the server has reported that value of the setting.
  bool is_reported(char const* name, char const* value) const noexcept {
    char const* const reported = PQparameterStatus(raw_, name);
    return reported != nullptr && std::strcmp(reported, value) == 0;
  }

  std::string value_of(std::string const& sql) {
    pqxx::nontransaction tx{pqxx_};
    return tx.exec(sql).at(0).at(0).c_str();
  }

  PGconn* raw_;
  Access access_;
  Fence fence_;
  int abort_descriptor_;
  pqxx::connection pqxx_;
  std::size_t prepared_ = 0;
  bool knows_position_ = false;
  std::optional<Autocommit> autocommit_;
  std::optional<Snapshot> snapshot_;
  std::optional<Write> write_;
};

}  // namespace replica_router
