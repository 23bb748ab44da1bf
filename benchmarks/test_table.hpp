// What do the benchmarks read and write? A table of small rows, and a router on a cluster that has it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <pqxx/pqxx>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "replica_router/replica_router.hpp"
#include "support/cluster.hpp"

namespace replica_router::benchmarks {

inline constexpr int row_count = 10'000;
inline constexpr char const* statement_name = "point";
inline constexpr char const* statement = "SELECT payload FROM item WHERE id = $1::int";

/// Ids that walk over the whole table in no order that a cache could like.
class Keys {
 public:
  explicit Keys(int start = 0) : at_{start} {}
  int next() {
    at_ = (at_ + 7919) % row_count;
    return at_ + 1;
  }

 private:
  int at_;
};

/// Makes the table, and returns when every replica has it.
inline void make_test_table(testing::Cluster& cluster) {
  cluster.primary().execute(
      "CREATE TABLE item (id int PRIMARY KEY, payload text NOT NULL, touched int NOT NULL DEFAULT 0) "
      "WITH (fillfactor = 50);"
      "INSERT INTO item SELECT i, md5(i::text) FROM generate_series(1, " +
      std::to_string(row_count) + ") AS i");
  cluster.primary().execute("VACUUM (FREEZE, ANALYZE) item");
  cluster.wait_until_caught_up();
}

/// The read of one row. Throws: libpqxx's error; pqxx::unexpected_rows when the row is not there.
inline void read_point(pqxx::transaction_base& tx, int id) {
  tx.exec(pqxx::prepped{statement_name}, pqxx::params{id}).one_row();
}

/// Options that name the nodes of a cluster, or the primary and the first few of its replicas.
inline Options options_for(testing::Cluster& cluster, std::size_t replicas = static_cast<std::size_t>(-1)) {
  Options out;
  out.primary = {cluster.primary().conninfo(), {.name = "primary"}};
  for (std::size_t i = 0; i < std::min(replicas, cluster.replica_count()); ++i) {
    out.replicas.push_back({cluster.replica(i).conninfo(), {.name = cluster.replica(i).name()}});
  }
  return out;
}

/// Waits until every replica is eligible. Throws: std::runtime_error when one is not within ten seconds.
template <class Router>
void wait_until_all_serve(Router& db) {
  auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  for (;;) {
    auto const nodes = db.explain().nodes;
    auto const eligible =
        std::count_if(nodes.begin(), nodes.end(), [](auto const& node) { return node.verdict == Verdict::eligible; });
    if (static_cast<std::size_t>(eligible) + 1 == nodes.size()) {
      return;
    }
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error{"not every replica serves reads:\n" + db.status().text()};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
}

/// A router on the options, with the point select prepared, when every replica serves.
template <class Policy>
std::unique_ptr<ReplicaRouter<Policy>> make_router(Options options, Policy policy) {
  auto db = std::make_unique<ReplicaRouter<Policy>>(std::move(options), std::move(policy));
  db->prepare(statement_name, statement);
  wait_until_all_serve(*db);
  return db;
}

/// The same on a cluster, or the primary and the first few of its replicas.
template <class Policy>
std::unique_ptr<ReplicaRouter<Policy>> make_router(testing::Cluster& cluster, Policy policy,
                                                   std::size_t replicas = static_cast<std::size_t>(-1)) {
  return make_router(options_for(cluster, replicas), std::move(policy));
}

}  // namespace replica_router::benchmarks
