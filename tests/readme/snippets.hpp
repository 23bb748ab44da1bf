// What do the README's snippets take for granted? Their includes and names, and the list of those that are run.
#pragma once

#include <chrono>
#include <cstddef>
#include <iostream>
#include <optional>
#include <pqxx/pqxx>
#include <replica_router/replica_router.hpp>
#include <span>
#include <string>
#include <vector>

namespace readme {

namespace rr = replica_router;
using namespace std::chrono_literals;

/// A snippet that runs on a router.
struct SnippetOnDb {
  int line;  ///< where it begins in the README
  void (*run)(rr::ReplicaRouter<>& db);
};

/// Those of the README, in its order.
extern std::vector<SnippetOnDb> const snippets_on_db;

}  // namespace readme
