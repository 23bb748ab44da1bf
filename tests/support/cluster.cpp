#include "support/cluster.hpp"

#include <fmt/format.h>

#include <utility>

#include "support/eventually.hpp"

namespace replica_router::testing {

using namespace std::chrono_literals;

Cluster::Cluster(ClusterOptions options)
    : site_{{}, account_of_servers(), std::move(options.settings), std::move(options.hba)}, guardian_{site_.account} {
  site_.directory = guardian_.directory();
  add_node("primary").make_first_data();
  for (int number = 1; number <= options.replicas; ++number) {
    // A copy made before the first start is as good a replica as a base backup, and takes a tenth of the time.
    add_node(fmt::format("replica-{}", number)).copy_data_of(primary());
  }
  for (auto const& node : nodes_) {
    node->launch();
  }
  for (auto const& node : nodes_) {
    node->wait_until_ready();
  }
  std::string const streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
  std::string seen;
  eventually(
      fmt::format("{} replicas are streaming", options.replicas), 60s,
      [&] {
        seen = primary().query(streaming);
        return seen == fmt::to_string(options.replicas);
      },
      [&] { return seen; });
}

std::vector<std::string> Cluster::replica_conninfos(std::string_view database) const {
  std::vector<std::string> all;
  for (auto node = nodes_.begin() + 1; node != nodes_.end(); ++node) {
    all.push_back((*node)->conninfo(database));
  }
  return all;
}

ClusterNode& Cluster::add_node(std::string name) {
  return *nodes_.emplace_back(std::make_unique<ClusterNode>(std::move(name), site_));
}

ClusterNode& Cluster::add_replica() {
  auto& node = add_node(fmt::format("replica-{}", nodes_.size()));
  node.rebuild_from(primary());
  return node;
}

void Cluster::wait_until_caught_up(std::chrono::milliseconds deadline) {
  for (std::size_t index = 0; index < replica_count(); ++index) {
    if (replica(index).is_following()) {
      replica(index).wait_until_caught_up_with(primary(), deadline);
    }
  }
}

}  // namespace replica_router::testing
