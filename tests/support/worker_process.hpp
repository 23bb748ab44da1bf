// How does a program that tests a cluster run parts of itself in processes of their own?
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

namespace replica_router::testing {

/// This program, run once more with other arguments. Its standard input is a pipe: when that ends, it is to stop, so it
/// never outlives the process that started it.
///
/// Thread safety: none.
class WorkerProcess {
 public:
  /// `log`: where all it prints goes. Throws: std::system_error when it cannot be started.
  WorkerProcess(std::vector<std::string> arguments, std::filesystem::path log);
  /// Kills it if it is still there.
  ~WorkerProcess();
  WorkerProcess(WorkerProcess const&) = delete;
  WorkerProcess& operator=(WorkerProcess const&) = delete;

  /// Ends its standard input.
  void ask_to_stop();
  /// Returns when it has ended well. Throws: std::runtime_error, with what it printed, when it failed or does not end.
  void wait(std::chrono::milliseconds deadline);
  /// Whether it has ended, well or not, without having been waited for.
  [[nodiscard]] bool has_ended();

 private:
  std::filesystem::path log_;
  pid_t process_ = -1;
  int input_ = -1;
  int status_ = 0;
};

/// In the worker: returns when it is to stop.
void wait_until_asked_to_stop();

/// Tells threads that pause now and then to end. Thread safety: all calls.
class StopSign {
 public:
  void raise();
  /// Returns after the duration, or when the sign is raised: then false.
  bool pause(std::chrono::microseconds duration);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_raised_ = false;
};

}  // namespace replica_router::testing
