#include "support/worker_process_run.hpp"

#include <fmt/format.h>

#include <charconv>
#include <exception>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

namespace replica_router::testing {

using namespace std::chrono_literals;

namespace {

template <class Number>
Number number_of(std::string_view option, std::string_view text, Number least, Number most) {
  Number out{};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || end != text.data() + text.size() || out < least || out > most) {
    throw std::invalid_argument{fmt::format("{} takes a number from {} to {}, not '{}'", option, least, most, text)};
  }
  return out;
}

constexpr int most_workers = 64;

}  // namespace

RunRequest run_request_of(std::vector<std::string> const& arguments, std::set<std::string> const& own_flags) {
  RunRequest out;
  out.seed = std::random_device{}();
  WorkerTask task;
  bool is_worker = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    auto const& option = arguments[i];
    auto const value = [&]() -> std::string const& {
      if (i + 1 == arguments.size()) {
        throw std::invalid_argument{option + " needs a value"};
      }
      return arguments[++i];
    };
    if (option == "--seed") {
      out.seed = number_of<std::uint64_t>(option, value(), 0, UINT64_MAX);
    } else if (option == "--seconds") {
      out.duration = std::chrono::seconds{number_of(option, value(), 1, 86'400)};
    } else if (option == "--minutes") {
      out.duration = std::chrono::minutes{number_of(option, value(), 1, 1'440)};
    } else if (option == "--processes") {
      out.processes = number_of(option, value(), 1, most_workers);
    } else if (option == "--threads") {
      out.threads = number_of(option, value(), 1, most_workers);
    } else if (option == "--policy") {
      out.policy = value();
    } else if (option == "--worker") {
      is_worker = true;
      task.worker = number_of(option, value(), 0, most_workers - 1);
    } else if (option == "--directory") {
      task.directory = value();
    } else if (option == "--node") {
      task.conninfos.push_back(value());
    } else if (own_flags.count(option) > 0) {
      out.flags.insert(option);
    } else {
      throw std::invalid_argument{"unknown option " + option + "; --help tells all"};
    }
  }
  if (is_worker) {
    task.seed = out.seed;
    task.threads = out.threads;
    task.policy = out.policy;
    out.task = std::move(task);
  }
  return out;
}

std::string command_of(std::string const& program, RunRequest const& request) {
  auto out = fmt::format("{} --seed {} --seconds {} --processes {} --threads {} --policy '{}'", program, request.seed,
                         request.duration.count(), request.processes, request.threads, request.policy);
  for (auto const& flag : request.flags) {
    out += ' ' + flag;
  }
  return out;
}

Options options_for(std::vector<std::string> const& conninfos) {
  Options out;
  out.primary = {conninfos.at(0), {.name = "primary"}};
  for (std::size_t i = 1; i < conninfos.size(); ++i) {
    out.replicas.push_back({conninfos[i], {.name = fmt::format("replica-{}", i)}});
  }
  return out;
}

WorkerFleet::WorkerFleet(RunRequest const& request, std::vector<std::string> const& conninfos,
                         std::filesystem::path const& directory) {
  for (int worker = 0; worker < request.processes; ++worker) {
    std::vector<std::string> arguments{"--worker",    fmt::to_string(worker),
                                       "--seed",      fmt::to_string(request.seed),
                                       "--threads",   fmt::to_string(request.threads),
                                       "--policy",    request.policy,
                                       "--directory", directory.string()};
    for (auto const& conninfo : conninfos) {
      arguments.insert(arguments.end(), {"--node", conninfo});
    }
    workers_.push_back(
        std::make_unique<WorkerProcess>(std::move(arguments), directory / fmt::format("{}.log", worker)));
  }
}

void WorkerFleet::check() {
  for (auto const& worker : workers_) {
    if (worker->has_ended()) {
      worker->wait(1s);
      throw std::runtime_error{"a worker process ended before its time"};
    }
  }
}

void WorkerFleet::stop() {
  for (auto const& worker : workers_) {
    worker->ask_to_stop();
  }
  for (auto const& worker : workers_) {
    worker->wait(60s);
  }
}

void run_threads(WorkerTask const& task, std::function<void(int thread, StopSign& stop)> const& body) {
  StopSign stop;
  std::mutex mutex;
  std::exception_ptr error;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < task.threads; ++thread) {
    threads.emplace_back([&, thread] {
      try {
        body(thread, stop);
      } catch (...) {
        std::lock_guard guard{mutex};
        error = std::current_exception();
      }
    });
  }
  wait_until_asked_to_stop();
  stop.raise();
  for (auto& thread : threads) {
    thread.join();
  }
  if (error) {
    std::rethrow_exception(error);
  }
}

}  // namespace replica_router::testing
