// How does a test get a real PostgreSQL primary with streaming replicas, of its own and for a moment?
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/cluster_node.hpp"
#include "support/guardian.hpp"

namespace replica_router::testing {

struct ClusterOptions {
  int replicas = 2;
  /// Lines for every node's postgresql.conf; they win over the fixture's own.
  std::vector<std::string> settings = {};
  /// Lines for every node's pg_hba.conf; they come before the fixture's own, which trust everybody on 127.0.0.1.
  std::vector<std::string> hba = {};
};

/// A running primary and its replicas on 127.0.0.1, all streaming, gone with this object or with its process.
///
/// Thread safety: as ClusterNode. Several clusters live side by side, in one process or many.
class Cluster {
 public:
  explicit Cluster(ClusterOptions options = {});
  Cluster(Cluster const&) = delete;
  Cluster& operator=(Cluster const&) = delete;

  /// The node that was the primary at the start, whatever became of it.
  [[nodiscard]] ClusterNode& primary() { return *nodes_.front(); }
  /// The replica called "replica-<index + 1>". Throws: std::out_of_range.
  [[nodiscard]] ClusterNode& replica(std::size_t index) { return *nodes_.at(index + 1); }
  [[nodiscard]] std::size_t replica_count() const noexcept { return nodes_.size() - 1; }
  /// How libpq connects to each replica.
  [[nodiscard]] std::vector<std::string> replica_conninfos(std::string_view database = "postgres") const;

  /// One more replica, by a base backup of the primary. Lifetime: references to the other nodes stay good.
  ClusterNode& add_replica();
  /// Returns when every running replica that follows has replayed all that the primary has written by now.
  void wait_until_caught_up(std::chrono::milliseconds deadline = std::chrono::seconds{10});
  /// Where all files lie; it disappears with the cluster.
  [[nodiscard]] std::filesystem::path const& directory() const noexcept { return guardian_.directory(); }

 private:
  ClusterNode& add_node(std::string name);

  ClusterSite site_;
  // Destroyed after the guardian, which kills their servers: a port is free for others only when its server is dead.
  std::vector<std::unique_ptr<ClusterNode>> nodes_;
  Guardian guardian_;
};

}  // namespace replica_router::testing
