// Runs a command beside a throw-away PostgreSQL cluster:
//
//     throwaway_cluster [--replicas N] [--] command argument...
//
// The command finds the nodes in REPLICA_ROUTER_PRIMARY (a libpq string) and REPLICA_ROUTER_REPLICAS (libpq strings
// with
// ';' between them). Its exit code is passed on; the cluster is gone afterwards, also when interrupted or killed.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>
#include <vector>

#include "support/cluster.hpp"

namespace {

constexpr int wrong_usage = 2;
constexpr int cannot_execute = 127;
constexpr int ended_by_signal = 128;

struct Request {
  int replicas = 3;
  std::vector<char*> command;
};

std::optional<Request> parse(std::vector<char*> const& arguments) {
  Request request;
  std::size_t index = 1;
  for (; index < arguments.size(); ++index) {
    std::string_view const argument{arguments[index]};
    if (argument == "--") {
      ++index;
      break;
    }
    if (argument == "--replicas" && index + 1 < arguments.size()) {
      std::string_view const value{arguments[++index]};
      auto const [rest, error] = std::from_chars(value.data(), value.data() + value.size(), request.replicas);
      if (error != std::errc{} || rest != value.data() + value.size() || request.replicas < 0 ||
          request.replicas > 16) {
        fmt::print(stderr, "throwaway_cluster: --replicas takes a number from 0 to 16, not '{}'\n", value);
        return std::nullopt;
      }
    } else if (argument.starts_with('-')) {
      fmt::print(stderr, "throwaway_cluster: unknown option '{}'\n", argument);
      return std::nullopt;
    } else {
      break;
    }
  }
  request.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(index), arguments.end());
  if (request.command.empty()) {
    return std::nullopt;
  }
  request.command.push_back(nullptr);
  return request;
}

/// Runs the command to its end, passes on the signals it is not sent anyway, and returns its exit code.
int run_command(std::vector<char*> const& command, sigset_t const& handled, sigset_t const& before) {
  pid_t const self = ::getpid();
  pid_t const child = ::fork();
  if (child < 0) {
    std::perror("throwaway_cluster: fork");
    return cannot_execute;
  }
  if (child == 0) {
    // Without its cluster the command has nothing to live for.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != self) {
      ::_exit(cannot_execute);
    }
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    ::execvp(command.front(), command.data());
    fmt::print(stderr, "throwaway_cluster: cannot execute {}: {}\n", command.front(), std::strerror(errno));
    ::_exit(cannot_execute);
  }
  for (;;) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : ended_by_signal + WTERMSIG(status);
    }
    siginfo_t info{};
    int const signal = ::sigwaitinfo(&handled, &info);
    // A key on the terminal (SI_KERNEL) reaches the command itself: it is in the same process group.
    if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL) {
      ::kill(child, signal);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto const request = parse({argv, argv + argc});
  if (!request) {
    fmt::print(stderr, "usage: throwaway_cluster [--replicas N] [--] command argument...\n");
    return wrong_usage;
  }
  // Blocked from the start: an interrupt while the cluster is made takes effect once it can be taken down.
  sigset_t handled;
  sigset_t before;
  sigemptyset(&handled);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) {
    sigaddset(&handled, signal);
  }
  ::sigprocmask(SIG_BLOCK, &handled, &before);
  // Ignored by our parent it would take the command's exit code away.
  ::signal(SIGCHLD, SIG_DFL);
  try {
    replica_router::testing::Cluster cluster{{.replicas = request->replicas}};
    sigset_t pending;
    ::sigpending(&pending);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
      if (sigismember(&pending, signal) == 1) {
        return ended_by_signal + signal;
      }
    }
    ::setenv("REPLICA_ROUTER_PRIMARY", cluster.primary().conninfo().c_str(), 1);
    ::setenv("REPLICA_ROUTER_REPLICAS", fmt::format("{}", fmt::join(cluster.replica_conninfos(), ";")).c_str(), 1);
    return run_command(request->command, handled, before);
  } catch (std::exception const& error) {
    fmt::print(stderr, "throwaway_cluster: {}\n", error.what());
    return 1;
  }
}
