// Who stops a cluster's servers and removes its files when the test's process can no longer do it?
#pragma once

#include <sys/types.h>

#include <filesystem>

#include "support/child_process.hpp"

namespace replica_router::testing {

/// A small process that owns a cluster's directory: it makes it, waits until this object is destroyed or its process
/// has ended in whatever way, then kills every server in the directory, even a suspended one, and removes it.
///
/// It is the only one that cleans up, so every test shows that it works. It lives in a session of its own, where no
/// Ctrl-C finds it, and runs as the servers' user.
class Guardian {
 public:
  /// The directory is made below $TMPDIR, or /dev/shm where that has room, or /tmp.
  /// Throws: std::runtime_error when that user cannot make one there.
  explicit Guardian(Account const& account);
  /// Returns when the servers are dead and the directory is gone.
  ~Guardian();
  Guardian(Guardian const&) = delete;
  Guardian& operator=(Guardian const&) = delete;

  [[nodiscard]] std::filesystem::path const& directory() const noexcept { return directory_; }

 private:
  std::filesystem::path directory_;
  pid_t process_ = -1;
  int lifeline_ = -1;
};

}  // namespace replica_router::testing
