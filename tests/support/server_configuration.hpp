// What stands in the configuration files of a server that is started for tests?
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace replica_router::testing {

/// The text of postgresql.conf: quick to start, silent when idle, no durability; then the caller's own lines.
std::string server_settings(std::string_view node_name, std::uint16_t port, std::vector<std::string> const& own_lines);

/// The text of pg_hba.conf: the caller's lines, then trust for everybody on 127.0.0.1.
std::string access_rules(std::vector<std::string> const& own_lines);

/// The text of a settings file with one setting replaced, added, or (no value) removed.
std::string with_setting(std::string_view file_text, std::string_view name, std::optional<std::string_view> value);

/// The whole text of a file; empty when there is none.
std::string text_of(std::filesystem::path const& file);

}  // namespace replica_router::testing
