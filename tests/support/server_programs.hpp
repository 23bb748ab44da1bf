// Where are PostgreSQL's programs on this machine?
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace replica_router::testing {

/// The directory that holds initdb and postgres: `pg_config --bindir`, else the newest /usr/lib/postgresql/*/bin.
/// Throws: std::runtime_error that says where it was looked for and what to install.
std::filesystem::path const& server_programs();

/// The path of one of PostgreSQL's programs.
std::string server_program(std::string_view name);

}  // namespace replica_router::testing
