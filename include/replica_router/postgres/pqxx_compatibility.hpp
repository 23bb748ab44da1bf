// What differs between libpqxx 7.10 and 8? The one file that knows.
#pragma once

#include <pqxx/pqxx>

#include <libpq-fe.h>

#include <string>

#if !defined(PQXX_VERSION_MAJOR) || PQXX_VERSION_MAJOR < 7 || (PQXX_VERSION_MAJOR == 7 && PQXX_VERSION_MINOR < 10)
#error "replica_router needs libpqxx 7.10 or newer"
#endif

namespace replica_router {

/// A libpqxx transaction whose beginning and commit are our own.
///
/// libpqxx 8 hands a source location to each of its virtual functions; 7.10 does not.
class CustomTransaction : public pqxx::dbtransaction {
 public:
  CustomTransaction(CustomTransaction const&) = delete;
  CustomTransaction& operator=(CustomTransaction const&) = delete;

 protected:
  explicit CustomTransaction(pqxx::connection& connection) : pqxx::dbtransaction{connection} { register_transaction(); }
  ~CustomTransaction() override = default;

  /// Rolls back unless committed; the most derived destructor has to call it.
  void end() noexcept { close(); }

  /// Sends `COMMIT` and reads the outcome; anything thrown means "not committed", or that it is not known.
  virtual void send_commit() = 0;

 private:
#if PQXX_VERSION_MAJOR >= 8
  void do_commit(pqxx::sl) final { send_commit(); }
#else
  void do_commit() final { send_commit(); }
#endif
};

/// Throws the libpqxx exception that an error at `BEGIN` or `COMMIT` stands for, as libpqxx itself would have done.
[[noreturn]] inline void throw_as_pqxx(PGresult const* failed, char const* sql) {
  char const* const field = PQresultErrorField(failed, PG_DIAG_SQLSTATE);
  std::string const sqlstate{field == nullptr ? "" : field};
  std::string const message{PQresultErrorMessage(failed)};
  char const* const code = sqlstate.c_str();
  // Only what can be raised at COMMIT has a class of its own here: deferred constraints and conflicts.
  if (sqlstate == "23503") {  // foreign_key_violation
    throw pqxx::foreign_key_violation{message, sql, code};
  }
  if (sqlstate == "23505") {  // unique_violation
    throw pqxx::unique_violation{message, sql, code};
  }
  if (sqlstate == "23514") {  // check_violation
    throw pqxx::check_violation{message, sql, code};
  }
  if (sqlstate.substr(0, 2) == "23") {  // integrity_constraint_violation
    throw pqxx::integrity_constraint_violation{message, sql, code};
  }
  if (sqlstate == "40001") {  // serialization_failure
    throw pqxx::serialization_failure{message, sql, code};
  }
  if (sqlstate == "40P01") {  // deadlock_detected
    throw pqxx::deadlock_detected{message, sql, code};
  }
  if (sqlstate == "P0001") {  // raise_exception
    throw pqxx::plpgsql_raise{message, sql, code};
  }
  throw pqxx::sql_error{message, sql, code};
}

}  // namespace replica_router
