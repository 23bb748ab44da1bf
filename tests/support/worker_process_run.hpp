// How does a long run begin and end? What its command line asks for, and the worker processes that put load on a
// cluster.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "replica_router/options.hpp"
#include "support/worker_process.hpp"

namespace replica_router::testing {

/// What one worker process is told.
struct WorkerTask {
  std::uint64_t seed = 0;
  int worker = 0;
  int threads = 1;
  std::string policy;
  std::vector<std::string> conninfos;  ///< how each node is reached, the primary first
  std::filesystem::path directory;     ///< where records go
};

/// What a run is asked for.
struct RunRequest {
  std::uint64_t seed = 0;
  std::chrono::seconds duration{30};
  int processes = 3;
  int threads = 4;
  std::string policy = "sticky(least-lag)";
  std::set<std::string> flags = {};               ///< those of the program's own that were given
  std::optional<WorkerTask> task = std::nullopt;  ///< in a worker process
};

/// Reads `--seed`, `--seconds`, `--minutes`, `--processes`, `--threads`, `--policy`, the program's own flags, and what
/// a worker process is told. Without a seed one is drawn.
/// Throws: std::invalid_argument that says what is wrong.
RunRequest run_request_of(std::vector<std::string> const& arguments, std::set<std::string> const& own_flags);

/// The command that does the same run again.
std::string command_of(std::string const& program, RunRequest const& request);

/// Options for nodes reached by these strings, the primary first, named as the fixture names them.
Options options_for(std::vector<std::string> const& conninfos);

/// The worker processes of a run. Their logs are in the directory, too.
class WorkerFleet {
 public:
  WorkerFleet(RunRequest const& request, std::vector<std::string> const& conninfos,
              std::filesystem::path const& directory);
  /// Throws: std::runtime_error when a worker has ended already.
  void check();
  /// Asks all to stop and returns when they have. Throws: std::runtime_error when one failed.
  void stop();

 private:
  std::vector<std::unique_ptr<WorkerProcess>> workers_;
};

/// In a worker: runs `body(thread, stop)` in the task's threads until it is asked to stop. Throws: what a thread threw.
void run_threads(WorkerTask const& task, std::function<void(int thread, StopSign& stop)> const& body);

}  // namespace replica_router::testing
