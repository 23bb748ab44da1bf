#include "support/worker_process_record.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace replica_router::testing {

namespace {

constexpr std::string_view start_of_message = " | ";

}  // namespace

std::string line_of(Operation const& operation) {
  auto message = operation.message;
  std::replace(message.begin(), message.end(), '\n', ' ');
  return fmt::format("{} {} {} {} {} {} {} {} {} {}{}{}{} {} {} {}{}{}\n", static_cast<char>(operation.kind),
                     static_cast<char>(operation.outcome), operation.session, operation.began, operation.ended,
                     operation.id, operation.port, operation.bound, operation.max_staleness,
                     operation.is_monotonic ? 'm' : '.', operation.may_be_stale ? 's' : '.',
                     operation.is_lease ? 'l' : '.', operation.is_exactly_once ? 'x' : '.', operation.key,
                     operation.versions.size(), fmt::join(operation.versions, " "), start_of_message, message);
}

Operation operation_of(std::string const& line) {
  Operation out;
  std::istringstream in{line};
  char kind = 0;
  char outcome = 0;
  std::string flags;
  std::size_t count = 0;
  in >> kind >> outcome >> out.session >> out.began >> out.ended >> out.id >> out.port >> out.bound >>
      out.max_staleness >> flags >> out.key >> count;
  constexpr std::size_t most = 100'000;
  out.versions.resize(std::min(count, most));
  for (auto& version : out.versions) {
    in >> version;
  }
  std::string bar;
  in >> bar;
  if (!in || bar != "|" || flags.size() != 4) {
    throw std::runtime_error{"not an operation: " + line};
  }
  out.kind = static_cast<OperationKind>(kind);
  out.outcome = static_cast<Outcome>(outcome);
  out.is_monotonic = flags[0] == 'm';
  out.may_be_stale = flags[1] == 's';
  out.is_lease = flags[2] == 'l';
  out.is_exactly_once = flags[3] == 'x';
  in.ignore(1);
  std::getline(in, out.message);
  return out;
}

std::int64_t nanoseconds_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

OperationWriter::OperationWriter(std::filesystem::path const& file) : stream_{file, std::ios::app} {}

void OperationWriter::write(Operation const& operation) {
  if (!(stream_ << line_of(operation) << std::flush)) {
    throw std::runtime_error{"an operation could not be recorded"};
  }
}

namespace {

template <class Take>
void for_each_line_in(std::filesystem::path const& directory, Take take) {
  for (auto const& entry : std::filesystem::directory_iterator{directory}) {
    if (entry.path().extension() == ".operations") {
      std::ifstream stream{entry.path()};
      for (std::string line; std::getline(stream, line);) {
        take(line);
      }
    }
  }
}

}  // namespace

std::vector<Operation> operations_in(std::filesystem::path const& directory) {
  std::vector<Operation> out;
  for_each_line_in(directory, [&](std::string const& line) { out.push_back(operation_of(line)); });
  return out;
}

std::uint64_t operation_count(std::filesystem::path const& directory) {
  std::uint64_t out = 0;
  for_each_line_in(directory, [&](std::string const&) { ++out; });
  return out;
}

}  // namespace replica_router::testing
