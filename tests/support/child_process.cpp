#include "support/child_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace replica_router::testing {

namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw std::system_error{errno, std::generic_category(), "pipe"};
    }
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(Pipe const&) = delete;
  Pipe& operator=(Pipe const&) = delete;

  void close_end(std::size_t which) {
    if (ends[which] >= 0) {
      ::close(std::exchange(ends[which], -1));
    }
  }

  std::array<int, 2> ends{-1, -1};
};

/// Everything the forked child needs, prepared before the fork: after it only async-signal-safe calls are allowed.
struct Plan {
  std::vector<char*> arguments;
  std::vector<char*> environment;
  char const* working_directory;
  int input;
  int output;
  int report;
  Account account;
};

[[noreturn]] void give_up(int report) {
  int const reason = errno;
  [[maybe_unused]] auto const written = ::write(report, &reason, sizeof reason);
  ::_exit(127);
}

[[noreturn]] void become(Plan const& plan) {
  ::setsid();
  for (int signal : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD}) {
    ::signal(signal, SIG_DFL);
  }
  int const null = ::open("/dev/null", O_RDWR);
  // Lifted above 2 first, so that none of the three is overwritten before it is duplicated.
  int const report = ::fcntl(plan.report, F_DUPFD_CLOEXEC, 10);
  int const input = ::fcntl(plan.input < 0 ? null : plan.input, F_DUPFD, 10);
  int const output = ::fcntl(plan.output < 0 ? null : plan.output, F_DUPFD, 10);
  if (report < 0) {
    ::_exit(127);
  }
  if (null < 0 || input < 0 || output < 0 || ::dup2(input, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) {
    give_up(report);
  }
  // A descriptor that slips into a server would keep its pipe open, and whoever reads that pipe (ctest) waiting.
  auto const keep = static_cast<unsigned>(report);
  if (::syscall(SYS_close_range, 3U, keep - 1U, 0U) != 0 || ::syscall(SYS_close_range, keep + 1U, ~0U, 0U) != 0) {
    for (int descriptor = 3; descriptor < 4096; ++descriptor) {
      if (descriptor != report) {
        ::close(descriptor);
      }
    }
  }
  // By system call: glibc's wrappers want to change every thread, and those are not here after a fork.
  if (plan.account.is_another &&
      (::syscall(SYS_setgroups, 0, nullptr) != 0 || ::syscall(SYS_setgid, plan.account.group) != 0 ||
       ::syscall(SYS_setuid, plan.account.user) != 0)) {
    give_up(report);
  }
  if (::chdir(plan.working_directory) != 0) {
    give_up(report);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan.arguments.front(), plan.arguments.data(), plan.environment.data());
  give_up(report);
}

std::vector<std::string> small_environment() {
  // A PGPORT or PGOPTIONS of the caller's must not steer the servers.
  std::vector<std::string> environment{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"};
  if (char const* path = std::getenv("LD_LIBRARY_PATH")) {
    environment.push_back(fmt::format("LD_LIBRARY_PATH={}", path));
  }
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (auto& text : texts) {
    result.push_back(text.data());
  }
  result.push_back(nullptr);
  return result;
}

struct ProcessStatus {
  char state;
  pid_t parent;
};

std::optional<ProcessStatus> status_of(pid_t process) {
  std::ifstream file{fmt::format("/proc/{}/stat", process)};
  std::string line;
  if (!std::getline(file, line)) {
    return std::nullopt;
  }
  // "pid (name) state parent ...": the name is the program's own and may hold spaces and parentheses.
  auto const name_end = line.rfind(") ");
  if (name_end == std::string::npos || line.size() < name_end + 5) {
    return std::nullopt;
  }
  ProcessStatus status{line[name_end + 2], 0};
  std::from_chars(line.data() + name_end + 4, line.data() + line.size(), status.parent);
  return status;
}

}  // namespace

Account account_of_servers() {
  if (::geteuid() != 0) {
    return {::geteuid(), ::getegid(), false};
  }
  for (char const* name : {"postgres", "nobody"}) {
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 4096> buffer{};
    if (::getpwnam_r(name, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
      return {found->pw_uid, found->pw_gid, true};
    }
  }
  throw std::runtime_error{
      "PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as"};
}

pid_t start(Command const& command, Account const& account) {
  auto arguments = command.arguments;
  auto environment = small_environment();
  auto const working_directory = command.working_directory.string();
  Pipe report;
  Plan const plan{pointers(arguments),
                  pointers(environment),
                  working_directory.c_str(),
                  command.input,
                  command.output,
                  report.ends[1],
                  account};

  // No handler of this process's may run in the child between fork and exec.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t const child = ::fork();
  if (child == 0) {
    become(plan);
  }
  int const fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) {
    throw std::system_error{fork_error, std::generic_category(), "fork"};
  }

  report.close_end(1);
  int reason = 0;
  ssize_t got = 0;
  do {
    got = ::read(report.ends[0], &reason, sizeof reason);
  } while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof reason)) {
    ::waitpid(child, nullptr, 0);
    throw std::system_error{reason, std::generic_category(),
                            fmt::format("cannot start {} in {}", command.arguments.front(), working_directory)};
  }
  return child;
}

std::string run(Command const& command, Account const& account, std::chrono::milliseconds deadline) {
  Pipe output;
  auto attached = command;
  attached.output = output.ends[1];
  pid_t const child = start(attached, account);
  output.close_end(1);

  auto const end = std::chrono::steady_clock::now() + deadline;
  std::string text;
  bool is_late = false;
  for (;;) {
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd readable{output.ends[0], POLLIN, 0};
    int const ready = left > 0ms ? ::poll(&readable, 1, static_cast<int>(left.count())) : 0;
    if (ready == 0) {
      is_late = true;
      ::kill(-child, SIGKILL);
      break;
    }
    std::array<char, 4096> buffer{};
    ssize_t const got = ready < 0 ? -1 : ::read(output.ends[0], buffer.data(), buffer.size());
    if (got == 0) {
      break;
    }
    if (got > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      throw std::system_error{errno, std::generic_category(), "reading a program's output"};
    }
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (is_late || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error{fmt::format("{} {}: {}", fmt::join(command.arguments, " "),
                                         is_late ? fmt::format("took longer than {} ms", deadline.count()) : "failed",
                                         text)};
  }
  return text;
}

bool has_ended(pid_t child) {
  pid_t const result = ::waitpid(child, nullptr, WNOHANG);
  return result == child || (result < 0 && errno == ECHILD);
}

std::vector<pid_t> descendants_of(pid_t ancestor) {
  std::multimap<pid_t, pid_t> children;
  for (auto const& entry : std::filesystem::directory_iterator{"/proc"}) {
    auto const name = entry.path().filename().string();
    pid_t process = 0;
    if (auto const [rest, error] = std::from_chars(name.data(), name.data() + name.size(), process);
        error == std::errc{} && rest == name.data() + name.size()) {
      if (auto const status = status_of(process)) {
        children.emplace(status->parent, process);
      }
    }
  }
  std::vector<pid_t> found{ancestor};
  for (std::size_t index = 0; index < found.size(); ++index) {
    auto const [first, last] = children.equal_range(found[index]);
    for (auto child = first; child != last; ++child) {
      found.push_back(child->second);
    }
  }
  found.erase(found.begin());
  return found;
}

char state_of(pid_t process) {
  auto const status = status_of(process);
  return status ? status->state : 'X';
}

}  // namespace replica_router::testing
