// How does a benchmark run a proxy beside the router? As an unprivileged child that ends with the benchmark.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <pqxx/pqxx>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/child_process.hpp"
#include "support/reserved_port.hpp"

namespace replica_router::benchmarks {

/// A running proxy. It is stopped with this object, or, however its process ended, by the shell that started it.
class Rival {
 public:
  /// `stop_signal` is the one that ends it at once. Its output goes to NAME.log in `directory`, which must be writable
  /// for the servers' account. Throws: std::runtime_error with the end of that when it cannot be connected to.
  Rival(std::string name, std::vector<std::string> arguments, std::string_view stop_signal,
        std::filesystem::path const& directory, std::string conninfo)
      : name_{std::move(name)}, log_{directory / (name_ + ".log")}, conninfo_{std::move(conninfo)} {
    int lifeline[2];
    if (::pipe2(lifeline, O_CLOEXEC) != 0) {
      throw std::system_error{errno, std::generic_category(), "pipe"};
    }
    lifeline_ = lifeline[1];
    int const log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    // The shell waits until the pipe is closed, by the destructor or by the kernel. All of it is one process group.
    std::vector<std::string> command{"/bin/sh", "-c",
                                     "signal=$1; shift; \"$@\" & child=$!; read -r never; kill -\"$signal\" $child\n"
                                     "(sleep 3; kill -KILL 0) & wait $child; kill -KILL 0",
                                     name_, std::string{stop_signal}};
    command.insert(command.end(), arguments.begin(), arguments.end());
    process_ = testing::start({command, directory, lifeline[0], log}, testing::account_of_servers());
    ::close(lifeline[0]);
    ::close(log);
    wait_until_it_answers();
  }
  Rival(Rival const&) = delete;
  Rival& operator=(Rival const&) = delete;
  ~Rival() { stop(); }

  /// How libpq connects through it.
  std::string const& conninfo() const { return conninfo_; }

 private:
  void wait_until_it_answers() {
    auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds{15};
    for (;;) {
      try {
        pqxx::connection connection{conninfo_};
        pqxx::nontransaction{connection}.exec("SELECT 1").one_row();
        return;
      } catch (pqxx::failure const& error) {
        if (std::chrono::steady_clock::now() > deadline) {
          stop();
          std::ifstream log{log_};
          std::string const text{std::istreambuf_iterator<char>{log}, {}};
          throw std::runtime_error{name_ + " does not serve: " + error.what() + "\n" +
                                   text.substr(text.size() - std::min<std::size_t>(text.size(), 2000))};
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
  }

  void stop() {
    if (lifeline_ >= 0) {
      ::close(std::exchange(lifeline_, -1));
      ::waitpid(process_, nullptr, 0);
    }
  }

  std::string name_;
  std::filesystem::path log_;
  std::string conninfo_;
  pid_t process_ = -1;
  int lifeline_ = -1;
};

}  // namespace replica_router::benchmarks
