// What does a connection string say? libpq's own reading of it, with what may be told of it and what may not.
#pragma once

#include <libpq-fe.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"
#include "replica_router/postgres/conninfo_syntax.hpp"

namespace replica_router {

/// A connection string or URI as libpq reads it, with libpq's defaults beside it.
///
/// An empty value counts as not given, as it does in `PQconnectStartParams`.
/// Thread safety: a value. `parse` reads the environment (`PGHOST`, …), as `getenv` does.
template <class Text>
class BasicConnInfo {
 public:
  /// Throws: `ConfigError` with libpq's reason when libpq cannot parse the text, and where libpq would take a mistake
  /// for a host, port, user or database. The message quotes nothing that may be a password.
  static BasicConnInfo parse(std::string const& text) {
    if (text.find('\0') != std::string::npos) {
      throw ConfigError{"a connection string cannot contain a zero byte"};
    }
    if (auto const flaw = detail::flaw_of_uri(text); !flaw.empty()) {
      throw ConfigError{std::string{flaw}};
    }
    BasicConnInfo out;
    char* message = nullptr;
    OptionArray const given{PQconninfoParse(text.c_str(), &message)};
    std::unique_ptr<char, Free> const owned_message{message};
    if (!given) {
      throw ConfigError{"libpq cannot parse the connection string: " +
                        detail::safe_reason(message == nullptr ? "" : message, out.known_keywords())};
    }
    for (auto const* option = given.get(); option->keyword != nullptr; ++option) {
      if (option->val != nullptr) {
        if (detail::is_shown(option->keyword) && detail::swallows_another(option->val)) {
          throw ConfigError{"the value of " + std::string{option->keyword} +
                            " must not contain \"=\" or \"://\": is a blank or a quote missing?"};
        }
        out.set(option->keyword, option->val);
      }
    }
    for (auto const& port : detail::items_of<Text>(out.value("port"))) {
      if (!port.empty() && !detail::port_of(port)) {
        // In a URI that lacks its host, what looks like a port is the password.
        throw ConfigError{"the port" + (detail::is_uri(text) ? "" : " \"" + port + "\"") +
                          " is not a number from 1 to 65535"};
      }
    }
    return out;
  }

  /// What libpq will use: the value given, else the environment's, else libpq's default; empty when there is none.
  /// With a `service` given only what is given is known: its file is read when connecting.
  /// Throws: `UsageError` when libpq knows no such keyword.
  std::string value(std::string_view keyword) const {
    auto const& parameter = parameters_[index_of(keyword)];
    return is_given(keyword) || is_given("service") ? parameter.given : parameter.fallback;
  }

  /// Whether the value was given, rather than left to libpq.
  bool is_given(std::string_view keyword) const { return !parameters_[index_of(keyword)].given.empty(); }

  /// Gives a value; an empty one leaves it to libpq.
  /// Throws: `UsageError` when libpq knows no such keyword.
  void set(std::string_view keyword, std::string value) { parameters_[index_of(keyword)].given = std::move(value); }

  /// Makes the server start each session with this setting, on top of the user's own `options`.
  void add_server_setting(std::string_view name, std::string_view setting) {
    set("options", detail::with_server_setting(value("options"), name, setting));
  }

  /// One for each host, with its address and port as libpq pairs them.
  /// Throws: `ConfigError` when the lists do not match or an item is empty.
  std::vector<BasicConnInfo> hosts() const {
    auto names = detail::items_of<Text>(value("host"));
    auto addresses = detail::items_of<Text>(value("hostaddr"));
    auto ports = detail::items_of<Text>(value("port"));
    auto const count = value("hostaddr").empty() ? names.size() : addresses.size();
    for (auto* list : {&names, &addresses, &ports}) {
      // Only a port may be given once for all; the other lists may be missing.
      if (list->size() == 1 && (list == &ports || list->front().empty())) {
        list->assign(count, list->front());
      }
      if (list->size() != count) {
        throw ConfigError{std::to_string(count) + " hosts with " + std::to_string(list->size()) +
                          (list == &ports ? " ports: one for all or one for each is needed" : " names or addresses")};
      }
    }
    std::vector<BasicConnInfo> out(count, *this);
    for (std::size_t i = 0; count > 1 && i < count; ++i) {
      if (names[i].empty() && addresses[i].empty()) {
        throw ConfigError{"host " + std::to_string(i + 1) + " of " + std::to_string(count) + " is empty"};
      }
      out[i].set("host", names[i]);
      out[i].set("hostaddr", addresses[i]);
      // An empty item means the default that is compiled in, whatever PGPORT says.
      out[i].set("port", ports[i].empty() ? compiled_port_ : ports[i]);
    }
    return out;
  }

  /// `host:port`, or `[local]:port` for the default socket.
  std::string host_and_port() const {
    auto const host = value("host").empty() ? value("hostaddr") : value("host");
    if (host.empty() && is_given("service")) {
      return "service=" + value("service");
    }
    bool const is_ipv6 = host.find(':') != std::string::npos && host.front() != '/';
    return (host.empty() ? "[local]" : is_ipv6 ? "[" + host + "]" : host) + ":" + port();
  }

  /// `host:port/dbname`, for messages.
  std::string address() const {
    auto const name = database();
    return host_and_port() + (name.empty() ? "" : "/" + detail::shown_value("dbname", name));
  }

  /// Equal for two that lead to the same database of the same server, as far as text can tell.
  std::string key() const {
    auto host = value("hostaddr").empty() ? value("host") : value("hostaddr");
    if (!host.starts_with('/')) {
      std::transform(host.begin(), host.end(), host.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    }
    return value("service") + '\n' + host + '\n' + port() + '\n' + database();
  }

  /// A connection string that says the same. Holds the password.
  std::string text() const {
    return joined([](Parameter const& parameter) { return detail::quoted(parameter.given); });
  }

  /// What is given, for messages: values that may be secret are three stars.
  std::string safe_text() const {
    return joined([](Parameter const& parameter) { return detail::shown_value(parameter.keyword, parameter.given); });
  }

  /// The keywords given and a null pointer, for `PQconnectStartParams`. Lifetime: until this object changes.
  std::vector<typename Text::const_pointer> keywords() const {
    return pointers([](Parameter const& parameter) { return parameter.keyword.c_str(); });
  }

  /// The values that belong to `keywords()`. Lifetime: until this object changes.
  std::vector<typename Text::const_pointer> values() const {
    return pointers([](Parameter const& parameter) { return parameter.given.c_str(); });
  }

 private:
  struct Parameter {
    Text keyword;
    Text given;
    Text fallback;
  };
  struct Free {
    void operator()(PQconninfoOption* options) const noexcept { PQconninfoFree(options); }
    void operator()(char* message) const noexcept { PQfreemem(message); }
  };
  using OptionArray = std::unique_ptr<PQconninfoOption, Free>;

  BasicConnInfo() {
    OptionArray const defaults{PQconndefaults()};
    if (!defaults) {
      throw std::bad_alloc{};
    }
    for (auto const* option = defaults.get(); option->keyword != nullptr; ++option) {
      parameters_.push_back({option->keyword, "", option->val == nullptr ? "" : option->val});
      if (parameters_.back().keyword == "port" && option->compiled != nullptr) {
        compiled_port_ = option->compiled;
      }
    }
  }

  std::size_t index_of(std::string_view keyword) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (parameters_[i].keyword == keyword) {
        return i;
      }
    }
    throw UsageError{"libpq knows no connection keyword \"" + std::string{keyword} + "\""};
  }

  std::vector<Text> known_keywords() const {
    std::vector<Text> out;
    for (auto const& parameter : parameters_) {
      out.push_back(parameter.keyword);
    }
    return out;
  }

  std::string port() const {
    auto const number = detail::port_of(value("port"));
    return number ? std::to_string(*number) : value("port").empty() ? compiled_port_ : value("port");
  }

  // libpq takes the user's name where no database is named.
  std::string database() const { return value("dbname").empty() ? value("user") : value("dbname"); }

  template <class Value>
  std::string joined(Value text_of_value) const {
    std::string out;
    for (auto const& parameter : parameters_) {
      if (!parameter.given.empty()) {
        out += (out.empty() ? "" : " ") + parameter.keyword + '=' + text_of_value(parameter);
      }
    }
    return out;
  }

  template <class Pointer>
  std::vector<typename Text::const_pointer> pointers(Pointer pointer_of) const {
    std::vector<typename Text::const_pointer> out;
    for (auto const& parameter : parameters_) {
      if (!parameter.given.empty()) {
        out.push_back(pointer_of(parameter));
      }
    }
    out.push_back(nullptr);
    return out;
  }

  std::vector<Parameter> parameters_;
  std::string compiled_port_{"5432"};
};

/// See `BasicConnInfo`. Why it is a template: see `replica_router.hpp`.
using ConnInfo = BasicConnInfo<std::string>;

}  // namespace replica_router
