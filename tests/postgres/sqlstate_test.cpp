#include "replica_router/postgres/sqlstate.hpp"

#include <algorithm>
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace rr = replica_router;
using rr::classify_sqlstate;
using rr::Failure;
using rr::probe_failure_of;
using rr::ProbeFailure;

TEST_CASE("no SQLSTATE and no name is in the table twice, and each is well formed") {
  std::set<std::string_view> codes;
  std::set<std::string_view> names;
  for (auto const& row : rr::sqlstate_meanings) {
    INFO(row.sqlstate << " " << row.name);
    CHECK(codes.insert(row.sqlstate).second);
    CHECK(names.insert(row.name).second);
    CHECK(row.sqlstate.size() == 5);
    CHECK(std::all_of(row.sqlstate.begin(), row.sqlstate.end(),
                      [](unsigned char c) { return std::isdigit(c) != 0 || std::isupper(c) != 0; }));
    CHECK_FALSE(row.name.empty());
    CHECK(row.failure != Failure::statement);
    CHECK(classify_sqlstate(row.sqlstate) == row.failure);
  }
}

TEST_CASE("each SQLSTATE that says something of the connection or the node is known for what it says") {
  std::map<std::string_view, Failure> const expected{
      {"08000", Failure::connection_lost},       // connection_exception
      {"08001", Failure::connection_lost},       // sqlclient_unable_to_establish_sqlconnection
      {"08003", Failure::connection_lost},       // connection_does_not_exist
      {"08004", Failure::rejected},              // sqlserver_rejected_establishment_of_sqlconnection
      {"08006", Failure::connection_lost},       // connection_failure
      {"25006", Failure::read_only},             // read_only_sql_transaction
      {"28000", Failure::rejected},              // invalid_authorization_specification
      {"28P01", Failure::rejected},              // invalid_password
      {"3D000", Failure::rejected},              // invalid_catalog_name
      {"40001", Failure::serialization},         // serialization_failure
      {"40P01", Failure::deadlock},              // deadlock_detected
      {"53300", Failure::too_many_connections},  // too_many_connections
      {"57P01", Failure::connection_lost},       // admin_shutdown
      {"57P02", Failure::connection_lost},       // crash_shutdown
      {"57P03", Failure::unavailable},           // cannot_connect_now
      {"57P04", Failure::rejected},              // database_dropped
  };
  for (auto const& [sqlstate, failure] : expected) {
    INFO(sqlstate);
    CHECK(classify_sqlstate(sqlstate) == failure);
  }
}

TEST_CASE("whatever is the statement's own says nothing of the node") {
  for (auto const* sqlstate : {
           "57014",  // query_canceled
           "42601",  // syntax_error
           "42501",  // insufficient_privilege
           "42P01",  // undefined_table
           "23505",  // unique_violation
           "22012",  // division_by_zero
           "55P03",  // lock_not_available
           "53200",  // out_of_memory
           "25P02",  // in_failed_sql_transaction
           "40000",  // transaction_rollback
           "08P01",  // protocol_violation: a wrong parameter count, and the connection lives
           "P0001",  // raise_exception
           "XX000",  // internal_error
       }) {
    INFO(sqlstate);
    CHECK(classify_sqlstate(sqlstate) == Failure::statement);
  }
}

TEST_CASE("what is no SQLSTATE at all is the statement's own") {
  for (auto const* text : {"", "0", "5330", "533000", "57p01", "admin_shutdown"}) {
    CHECK(classify_sqlstate(text) == Failure::statement);
  }
}

TEST_CASE("a refusal to connect without an SQLSTATE means that nobody answered") {
  CHECK(probe_failure_of("") == ProbeFailure::refused);
}

TEST_CASE("a server that is full is alive, any other answer rejects us") {
  CHECK(probe_failure_of("53300") == ProbeFailure::too_many_connections);
  for (auto const* sqlstate : {"28P01", "28000", "3D000", "57P03", "57P01", "42501", "08P01", "XX000"}) {
    INFO(sqlstate);
    CHECK(probe_failure_of(sqlstate) == ProbeFailure::rejected);
  }
}
