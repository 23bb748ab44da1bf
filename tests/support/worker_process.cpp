#include "support/worker_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/server_configuration.hpp"

namespace replica_router::testing {

WorkerProcess::WorkerProcess(std::vector<std::string> arguments, std::filesystem::path log) : log_{std::move(log)} {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error{errno, std::generic_category(), "pipe"};
  }
  int const output = ::open(log_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  arguments.insert(arguments.begin(), std::filesystem::read_symlink("/proc/self/exe").string());
  try {
    process_ = start({std::move(arguments), log_.parent_path(), ends[0], output}, {::getuid(), ::getgid()});
  } catch (...) {
    ::close(ends[0]);
    ::close(ends[1]);
    ::close(output);
    throw;
  }
  ::close(ends[0]);
  ::close(output);
  input_ = ends[1];
}

WorkerProcess::~WorkerProcess() {
  ask_to_stop();
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
}

void WorkerProcess::ask_to_stop() {
  if (input_ >= 0) {
    ::close(std::exchange(input_, -1));
  }
}

bool WorkerProcess::has_ended() {
  if (process_ > 0 && ::waitpid(process_, &status_, WNOHANG) == process_) {
    process_ = -1;
  }
  return process_ <= 0;
}

void WorkerProcess::wait(std::chrono::milliseconds deadline) {
  eventually(
      "the worker process ends", deadline, [&] { return has_ended(); }, [&] { return text_of(log_); });
  if (!WIFEXITED(status_) || WEXITSTATUS(status_) != 0) {
    auto const how = WIFEXITED(status_) ? fmt::format("exit code {}", WEXITSTATUS(status_))
                                        : fmt::format("signal {}", WTERMSIG(status_));
    throw std::runtime_error{fmt::format("a worker process failed ({}); it printed: {}", how, text_of(log_))};
  }
}

void wait_until_asked_to_stop() {
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(STDIN_FILENO, &byte, 1);
  } while (got > 0 || (got < 0 && errno == EINTR));
}

void StopSign::raise() {
  {
    std::lock_guard guard{mutex_};
    is_raised_ = true;
  }
  changed_.notify_all();
}

bool StopSign::pause(std::chrono::microseconds duration) {
  std::unique_lock lock{mutex_};
  return !changed_.wait_for(lock, duration, [&] { return is_raised_; });
}

}  // namespace replica_router::testing
