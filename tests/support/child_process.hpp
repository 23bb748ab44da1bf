// How is another program started, as an ordinary user, from a process that may have threads?
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace replica_router::testing {

/// The operating system's user that servers run as.
struct Account {
  uid_t user;
  gid_t group;
  /// Whether a child has to change to it first.
  bool is_another = false;
};

/// This process's own user; when that is root, whom PostgreSQL refuses, then `postgres`, or else `nobody`.
/// Throws: std::runtime_error when root finds neither.
Account account_of_servers();

/// A program with its arguments, and what it gets as standard input, output and error output.
struct Command {
  std::vector<std::string> arguments;
  std::filesystem::path working_directory;
  int input = -1;   ///< -1: /dev/null
  int output = -1;  ///< -1: /dev/null; error output goes the same way.
};

/// Starts the command in a session of its own (no Ctrl-C reaches it), with no other descriptor and a small environment.
/// Throws: std::system_error when it cannot be executed.
pid_t start(Command const& command, Account const& account);

/// Runs the command to its end and returns what it printed.
/// Throws: std::runtime_error with its output when it fails or takes longer than the deadline.
std::string run(Command const& command, Account const& account, std::chrono::milliseconds deadline);

/// Whether the child has ended; the first `true` also reaps it, so never ask again after that.
bool has_ended(pid_t child);

/// All descendants of a process, found by their parents' ids.
std::vector<pid_t> descendants_of(pid_t ancestor);

/// The state letter of a process (R, S, D, T, Z), or X when there is none.
char state_of(pid_t process);

}  // namespace replica_router::testing
