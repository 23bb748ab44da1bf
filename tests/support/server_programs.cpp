#include "support/server_programs.hpp"

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>

#include "support/child_process.hpp"

namespace replica_router::testing {

namespace {

bool holds_a_server(std::filesystem::path const& directory) {
  std::error_code error;
  return std::filesystem::exists(directory / "initdb", error) && std::filesystem::exists(directory / "postgres", error);
}

std::optional<std::filesystem::path> told_by_pg_config() {
  try {
    Account const self{::geteuid(), ::getegid(), false};
    auto text = run({{"/bin/sh", "-c", "exec pg_config --bindir"}, "/"}, self, std::chrono::seconds{10});
    text.erase(text.find_last_not_of('\n') + 1);
    if (holds_a_server(text)) {
      return text;
    }
  } catch (std::exception const&) {
    // No pg_config here: only libpq's development files bring it, a server does not need it.
  }
  return std::nullopt;
}

std::optional<std::filesystem::path> newest_installed() {
  std::optional<std::filesystem::path> newest;
  int newest_version = 0;
  std::error_code error;
  for (auto const& entry : std::filesystem::directory_iterator{"/usr/lib/postgresql", error}) {
    auto const name = entry.path().filename().string();
    int version = 0;
    std::from_chars(name.data(), name.data() + name.size(), version);
    if (version > newest_version && holds_a_server(entry.path() / "bin")) {
      newest_version = version;
      newest = entry.path() / "bin";
    }
  }
  return newest;
}

std::filesystem::path find_server_programs() {
  auto found = told_by_pg_config();
  if (!found) {
    found = newest_installed();
  }
  if (!found) {
    throw std::runtime_error{
        "no PostgreSQL server found: there is no initdb in `pg_config --bindir` nor in "
        "/usr/lib/postgresql/*/bin; on Debian and Ubuntu install the package postgresql"};
  }
  return std::filesystem::canonical(*found);
}

}  // namespace

std::filesystem::path const& server_programs() {
  static std::filesystem::path const directory = find_server_programs();
  return directory;
}

std::string server_program(std::string_view name) { return (server_programs() / name).string(); }

}  // namespace replica_router::testing
