#include "support/initial_data.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "support/server_configuration.hpp"
#include "support/server_programs.hpp"

namespace replica_router::testing {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds patience = 60s;

#ifdef REPLICA_ROUTER_TEST_CACHE
constexpr char const* cache_directory = REPLICA_ROUTER_TEST_CACHE;
#else
constexpr char const* cache_directory = nullptr;
#endif

std::vector<std::string> initdb_command() {
  return {server_program("initdb"), "--username=postgres", "--auth=trust",     "--locale=C",
          "--encoding=UTF8",        "--no-sync",           "--no-instructions"};
}

/// Another server, or other options, are another name.
std::filesystem::path place_in_cache() {
  auto const server = server_program("postgres");
  auto const what =
      fmt::format("{} {} {} {}", fmt::join(initdb_command(), " "), server, std::filesystem::file_size(server),
                  std::filesystem::last_write_time(server).time_since_epoch().count());
  return std::filesystem::path{cache_directory} / fmt::format("initial-data-{:016x}", std::hash<std::string>{}(what));
}

void copy_tree(std::filesystem::path const& from, std::filesystem::path const& to) {
  Account const self{::geteuid(), ::getegid(), false};
  run({{"/bin/cp", "-a", "--sparse=always", from.string(), to.string()}, "/"}, self, patience);
}

void keep(std::filesystem::path const& data, std::filesystem::path const& place) {
  std::filesystem::create_directories(place.parent_path());
  auto making = (place.parent_path() / "making-XXXXXX").string();
  if (::mkdtemp(making.data()) == nullptr) {
    throw std::system_error{errno, std::generic_category(), making};
  }
  copy_tree(data, std::filesystem::path{making} / "data");
  std::error_code was_kept_by_another;
  std::filesystem::rename(std::filesystem::path{making} / "data", place, was_kept_by_another);
  std::filesystem::remove_all(making);
}

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t remainder = ~0U;
  for (char byte : bytes) {
    remainder ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      remainder = remainder >> 1U ^ ((remainder & 1U) != 0 ? 0x82f63b78U : 0U);
    }
  }
  return ~remainder;
}

template <class Number>
void replace_at(std::size_t offset, Number value, std::filesystem::path const& path) {
  std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<char const*>(&value), sizeof value);
  file.close();
  if (!file) {
    throw std::runtime_error{"cannot write " + path.string()};
  }
}

/// Copies must not take themselves for one cluster: their servers would replicate from each other.
/// The identifier stands at the start of pg_control, which ends in a CRC, and in the header of each WAL file.
/// (pg_resetwal would write both, but also a wal_level of minimal, from which no replica can start.)
void give_system_identifier(std::filesystem::path const& data) {
  auto const now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  std::uint64_t const identifier = static_cast<std::uint64_t>(now.count()) << 32U | std::random_device{}();

  auto const control_file = data / "global" / "pg_control";
  auto bytes = text_of(control_file);
  // Where the CRC stands depends on the server's version: it is what agrees with all before it.
  std::size_t crc_offset = sizeof identifier;
  auto const agrees = [&] {
    auto const crc = crc32c(std::string_view{bytes}.substr(0, crc_offset));
    return std::memcmp(&crc, bytes.data() + crc_offset, sizeof crc) == 0;
  };
  while (crc_offset + sizeof(std::uint32_t) <= bytes.size() && !agrees()) {
    crc_offset += sizeof(std::uint32_t);
  }
  if (crc_offset + sizeof(std::uint32_t) > bytes.size()) {
    throw std::runtime_error{"no checksum found in " + control_file.string()};
  }
  std::memcpy(bytes.data(), &identifier, sizeof identifier);
  replace_at(0, identifier, control_file);
  replace_at(crc_offset, crc32c(std::string_view{bytes}.substr(0, crc_offset)), control_file);

  constexpr std::size_t in_wal_file = 24;
  for (auto const& entry : std::filesystem::directory_iterator{data / "pg_wal"}) {
    if (entry.is_regular_file()) {
      replace_at(in_wal_file, identifier, entry.path());
    }
  }
}

}  // namespace

void make_initial_data(std::filesystem::path const& data, Account const& account) {
  auto const place = cache_directory != nullptr ? place_in_cache() : std::filesystem::path{};
  // One made by another user cannot be read.
  if (!place.empty() && ::access((place / "PG_VERSION").c_str(), R_OK) == 0) {
    copy_tree(place, data);
    if (account.is_another) {
      Account const self{::geteuid(), ::getegid(), false};
      run({{"/bin/chown", "-R", fmt::format("{}:{}", account.user, account.group), data.string()}, "/"}, self,
          patience);
    }
    give_system_identifier(data);
    return;
  }
  auto command = initdb_command();
  command.insert(command.end(), {"--pgdata", data.string()});
  run({command, data.parent_path()}, account, patience);
  if (!place.empty()) {
    try {
      keep(data, place);
    } catch (std::exception const&) {
      // A build tree of another user's, or a full disk: the next cluster takes longer, that is all.
    }
  }
}

}  // namespace replica_router::testing
