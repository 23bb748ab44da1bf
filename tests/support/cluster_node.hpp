// How does a test start, break, mend and question one server of its cluster?
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/child_process.hpp"
#include "support/reserved_port.hpp"

namespace replica_router::testing {

/// What all nodes of a cluster have in common.
struct ClusterSite {
  std::filesystem::path directory;
  Account account;
  std::vector<std::string> settings;
  std::vector<std::string> hba;
};

/// One PostgreSQL server. A replica streams from its upstream under its own name as application_name. Every call
/// returns when its effect can be seen, or throws with what was seen and the end of the server's log.
///
/// Thread safety: name(), port(), conninfo(), execute() and query() from any thread; the others from one at a time.
class ClusterNode {
 public:
  /// Lifetime: the site must outlive the node.
  ClusterNode(std::string name, ClusterSite const& site);
  ~ClusterNode();
  ClusterNode(ClusterNode const&) = delete;
  ClusterNode& operator=(ClusterNode const&) = delete;

  /// "primary" or "replica-1" and so on: the part it had when it was made, whatever became of it.
  [[nodiscard]] std::string const& name() const noexcept { return name_; }
  /// Stays this node's while it is down.
  [[nodiscard]] std::uint16_t port() const noexcept { return port_.number(); }
  /// How libpq connects to it, as a superuser without a password.
  [[nodiscard]] std::string conninfo(std::string_view database = "postgres") const;

  /// Runs any number of statements. Throws: std::runtime_error with the server's message.
  void execute(std::string const& sql, std::string_view database = "postgres") const;
  /// The first value of the first row; empty for NULL and for no row.
  [[nodiscard]] std::string query(std::string const& sql, std::string_view database = "postgres") const;
  /// The last lines of the server's log.
  [[nodiscard]] std::string log_tail(std::size_t lines = 20) const;

  /// A suspended server counts as running.
  [[nodiscard]] bool is_running();
  /// Whether it runs, not suspended, as a replica of another node.
  [[nodiscard]] bool is_following();
  /// Returns when it accepts connections.
  void start();
  /// Ends its sessions, writes a checkpoint; replicas get all that was written.
  void stop_fast();
  /// As after a crash: no checkpoint, but the clients are told.
  void stop_immediate();
  /// SIGKILL to the server and each of its processes, all dead on return; also when suspended.
  void kill();
  /// SIGSTOP to the server and each of its processes: it looks alive to the kernel and never answers.
  void suspend();
  void resume();

  /// Changes one setting (as ALTER SYSTEM, which a replica refuses) and reloads; while it is down, for the next start.
  /// Without a value the setting goes back to what the cluster was made with.
  /// Throws: std::runtime_error when the server rejects it or wants a restart for it.
  void set(std::string_view setting, std::optional<std::string_view> value);

  /// Makes a replica a primary; returns when it takes writes.
  void promote();
  /// Restarts a replica as a primary of the same timeline, as after a botched failover: two nodes now take writes.
  void break_away();
  void pause_replay();
  void resume_replay();
  /// Commits are replayed that much after they happened; zero ends the delay.
  void delay_replay(std::chrono::milliseconds delay);
  /// The replica lives on and receives nothing more, also after a restart, until restore_wal_receiver().
  void cut_wal_receiver();
  void restore_wal_receiver();
  /// Receives from another node from now on. A node that took writes must be stopped, and is started as a replica.
  void follow(ClusterNode const& upstream);
  /// Throws its data away, takes a base backup of another node and follows that one. Changed settings are forgotten.
  void rebuild_from(ClusterNode const& upstream);
  /// Returns when this node has replayed all that the other has written by now.
  void wait_until_caught_up_with(ClusterNode const& upstream,
                                 std::chrono::milliseconds deadline = std::chrono::seconds{10}) const;

  /// The steps of making a cluster: fresh data or a copy of a node never started, then start in two steps.
  void make_first_data();
  void copy_data_of(ClusterNode const& upstream);
  void launch();
  void wait_until_ready();

 private:
  [[nodiscard]] std::filesystem::path data() const { return home_ / "data"; }
  [[nodiscard]] std::string setting_on_upstream(ClusterNode const& upstream) const;
  void write_file(std::filesystem::path const& file, std::string_view text) const;
  void edit_setting(std::string_view setting, std::optional<std::string_view> value) const;
  void configure() const;
  void become_replica_of(ClusterNode const& upstream);
  void stop(int signal, std::string_view how);
  void await(std::string_view condition, std::string const& sql, std::string_view wanted) const;

  std::string name_;
  ClusterSite const& site_;
  std::filesystem::path home_;
  ReservedPort port_;
  std::string upstream_;
  pid_t server_ = -1;
  bool is_suspended_ = false;
};

}  // namespace replica_router::testing
