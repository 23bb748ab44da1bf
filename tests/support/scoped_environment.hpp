// What does the environment hold during a test? Only what the test says, of the variables that the library reads.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <map>
#include <string>
#include <string_view>

namespace replica_router::testing {

/// Hides all `PG*` and `REPLICA_ROUTER_*` variables and sets others in their place; puts everything back at the end.
/// Thread safety: none: a test that uses it runs no threads.
class ScopedEnvironment {
 public:
  explicit ScopedEnvironment(std::map<std::string, std::string> const& wanted = {}) : before_{ours()} {
    clear();
    for (auto const& [name, value] : wanted) {
      setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ScopedEnvironment(ScopedEnvironment const&) = delete;
  ScopedEnvironment& operator=(ScopedEnvironment const&) = delete;
  ~ScopedEnvironment() {
    clear();
    for (auto const& [name, value] : before_) {
      setenv(name.c_str(), value.c_str(), 1);
    }
  }

 private:
  static std::map<std::string, std::string> ours() {
    std::map<std::string, std::string> out;
    for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
      std::string_view const text{*variable};
      auto const equals = text.find('=');
      if (equals != std::string_view::npos && (text.starts_with("PG") || text.starts_with("REPLICA_ROUTER_"))) {
        out.emplace(text.substr(0, equals), text.substr(equals + 1));
      }
    }
    return out;
  }

  static void clear() {
    for (auto const& [name, value] : ours()) {
      unsetenv(name.c_str());
    }
  }

  std::map<std::string, std::string> before_;
};

}  // namespace replica_router::testing
