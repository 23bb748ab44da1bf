#include "support/server_configuration.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>
#include <iterator>
#include <sstream>

namespace replica_router::testing {

namespace {

constexpr char const* fixed_settings = R"(
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
max_wal_senders = 20
wal_level = replica
hot_standby = on
hot_standby_feedback = off
wal_keep_size = 128MB
max_wal_size = 256MB

# Reconnect at once, report often.
wal_retrieve_retry_interval = 100ms
wal_receiver_status_interval = 1s

# Quick: nothing here has to outlive the machine.
fsync = off
full_page_writes = off
wal_init_zero = off
wal_recycle = off
shared_buffers = 16MB
huge_pages = off
jit = off
# In the data directory, so that a killed server leaves nothing in /dev/shm.
dynamic_shared_memory_type = mmap

# Silent: an idle cluster writes no WAL (the standby snapshot every 15 s comes only after other WAL).
autovacuum = off
checkpoint_timeout = 1h
bgwriter_lru_maxpages = 0
max_logical_replication_workers = 0

log_checkpoints = off
log_line_prefix = '%m [%p] %q%a '
log_timezone = 'UTC'
timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'
)";

}  // namespace

std::string server_settings(std::string_view node_name, std::uint16_t port, std::vector<std::string> const& own_lines) {
  return fmt::format("cluster_name = '{}'\nport = {}\n{}\n{}\n", node_name, port, fixed_settings,
                     fmt::join(own_lines, "\n"));
}

std::string access_rules(std::vector<std::string> const& own_lines) {
  return fmt::format("{}\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n",
                     fmt::join(own_lines, "\n"));
}

std::string with_setting(std::string_view file_text, std::string_view name, std::optional<std::string_view> value) {
  std::string result;
  std::istringstream lines{std::string{file_text}};
  for (std::string line; std::getline(lines, line);) {
    if (line.substr(0, line.find_first_of(" =")) != name) {
      result += line + '\n';
    }
  }
  if (value) {
    std::string quoted;
    for (char character : *value) {
      quoted.append(character == '\'' ? 2 : 1, character);
    }
    result += fmt::format("{} = '{}'\n", name, quoted);
  }
  return result;
}

std::string text_of(std::filesystem::path const& file) {
  std::ifstream stream{file};
  return {std::istreambuf_iterator<char>{stream}, {}};
}

}  // namespace replica_router::testing
