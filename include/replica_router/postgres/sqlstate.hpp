// What does an SQLSTATE say? The one table of those that mean something to routing.
#pragma once

#include <array>
#include <string_view>

#include "replica_router/failure.hpp"
#include "replica_router/topology/node_health.hpp"

namespace replica_router {

/// One row of the table of SQLSTATEs that mean something to routing.
struct SqlstateMeaning {
  std::string_view sqlstate;
  std::string_view name;
  Failure failure;
};

/// Every SQLSTATE that routing reacts to; all others are the statement's own.
/// Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
inline constexpr std::array sqlstate_meanings{
    SqlstateMeaning{"08000", "connection_exception", Failure::connection_lost},
    SqlstateMeaning{"08001", "sqlclient_unable_to_establish_sqlconnection", Failure::connection_lost},
    SqlstateMeaning{"08003", "connection_does_not_exist", Failure::connection_lost},
    SqlstateMeaning{"08004", "sqlserver_rejected_establishment_of_sqlconnection", Failure::rejected},
    SqlstateMeaning{"08006", "connection_failure", Failure::connection_lost},
    SqlstateMeaning{"25006", "read_only_sql_transaction", Failure::read_only},
    SqlstateMeaning{"28000", "invalid_authorization_specification", Failure::rejected},
    SqlstateMeaning{"28P01", "invalid_password", Failure::rejected},
    SqlstateMeaning{"3D000", "invalid_catalog_name", Failure::rejected},
    SqlstateMeaning{"40001", "serialization_failure", Failure::serialization},
    SqlstateMeaning{"40P01", "deadlock_detected", Failure::deadlock},
    SqlstateMeaning{"53300", "too_many_connections", Failure::too_many_connections},
    SqlstateMeaning{"57P01", "admin_shutdown", Failure::connection_lost},
    SqlstateMeaning{"57P02", "crash_shutdown", Failure::connection_lost},
    SqlstateMeaning{"57P03", "cannot_connect_now", Failure::unavailable},
    SqlstateMeaning{"57P04", "database_dropped", Failure::rejected},
};

/// What an SQLSTATE means to routing.
constexpr Failure classify_sqlstate(std::string_view sqlstate) {
  for (auto const& row : sqlstate_meanings) {
    if (row.sqlstate == sqlstate) {
      return row.failure;
    }
  }
  return Failure::statement;
}

/// What a refusal to connect says of the node. Without an SQLSTATE nobody answered at all.
constexpr ProbeFailure probe_failure_of(std::string_view sqlstate) {
  if (sqlstate.empty()) {
    return ProbeFailure::refused;
  }
  return classify_sqlstate(sqlstate) == Failure::too_many_connections ? ProbeFailure::too_many_connections
                                                                      : ProbeFailure::rejected;
}

}  // namespace replica_router
