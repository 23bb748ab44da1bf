// Where else can options come from? One connection string with several hosts, and the environment.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"
#include "replica_router/near_name.hpp"
#include "replica_router/options.hpp"
#include "replica_router/postgres/conninfo.hpp"

namespace replica_router {
namespace detail {

inline constexpr std::string_view variable_prefix = "REPLICA_ROUTER_";

/// `max_lag` is set by `REPLICA_ROUTER_MAX_LAG`.
inline std::string variable_of(std::string_view field) {
  std::string out{variable_prefix};
  for (char const c : field) {
    out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return out;
}

/// Where the first connection string of a list ends: at a `;`, but in one that is not a URI not at a `;` that is quoted
/// or escaped as libpq has it.
inline std::size_t end_of_first(std::string_view list) {
  if (is_uri(list)) {
    return std::min(list.find(';'), list.size());
  }
  bool is_quoted = false;
  bool is_value_next = false;
  for (std::size_t i = 0; i < list.size(); ++i) {
    char const c = list[i];
    if (c == ';' && !is_quoted) {
      return i;
    }
    if (c == '\\') {
      ++i;
    } else if (c == '\'' && (is_quoted || is_value_next)) {
      // Within a bare value libpq takes a quote for a letter.
      is_quoted = !is_quoted;
    }
    is_value_next = !is_quoted && (c == '=' || (is_value_next && c == ' '));
  }
  return list.size();
}

/// The connection strings of a list separated by `;`. Blank ones, as after a last `;`, do not count.
template <class Text = std::string>
std::vector<Text> endpoints_of(std::string_view list) {
  std::vector<Text> items;
  while (!list.empty()) {
    list.remove_prefix(std::min(list.find_first_not_of(blanks), list.size()));
    auto const end = end_of_first(list);
    if (end > 0) {
      items.emplace_back(list.substr(0, end));
    }
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return items;
}

/// Refuses variables that look like ours misspelt. Others with our prefix are left alone: they belong to somebody else.
template <class Variables>
void refuse_near_misses(Variables const& variables) {
  std::vector<typename Variables::key_type> known{variable_of("primary"), variable_of("replicas"),
                                                  variable_of("conninfo"), variable_of("policy")};
  for_each_knob([&](std::string_view name, auto, auto) { known.push_back(variable_of(name)); });
  for (auto const& [name, value] : variables) {
    if (std::find(known.begin(), known.end(), name) != known.end()) {
      continue;
    }
    if (auto const meant = near_name(name, known); !meant.empty()) {
      throw ConfigError{name + " is not a variable of ours: was " + std::string{meant} + " meant?"};
    }
  }
}

/// Runs `step`, whose errors then begin with the name.
template <class Step>
void naming(std::string const& name, Step step) {
  try {
    step();
  } catch (ConfigError const& error) {
    throw ConfigError{name + ": " + error.what()};
  }
}

/// `Options::from_conninfo`.
template <class Made, class Address = ConnInfo>
Made options_from_conninfo(std::string const& text) {
  if (text.find_first_not_of(blanks) == std::string::npos) {
    throw ConfigError{"the connection string is empty: it must name the primary's host, and may name the replicas'"};
  }
  auto whole = Address::parse(text);
  whole.set("target_session_attrs", "any");
  Made out;
  for (auto const& host : whole.hosts()) {
    auto& endpoint = out.primary.conninfo.empty() ? out.primary : out.replicas.emplace_back();
    endpoint.conninfo = host.text();
  }
  return out;
}

/// `Options::from_environment` on variables given.
template <class Made, class Address = ConnInfo, class Variables>
Made options_from(Variables const& variables) {
  refuse_near_misses(variables);
  Made out;
  auto const find = [&](std::string_view field) -> std::string const* {
    auto const found = variables.find(variable_of(field));
    return found == variables.end() ? nullptr : &found->second;
  };
  auto const* const primary = find("primary");
  auto const* const replicas = find("replicas");
  if (auto const* const conninfo = find("conninfo")) {
    if (primary != nullptr || replicas != nullptr) {
      throw ConfigError{"REPLICA_ROUTER_CONNINFO stands for all nodes: unset it, or unset " +
                        variable_of(primary != nullptr ? "primary" : "replicas")};
    }
    naming("REPLICA_ROUTER_CONNINFO", [&] { out = options_from_conninfo<Made>(*conninfo); });
  }
  if (primary != nullptr) {
    naming("REPLICA_ROUTER_PRIMARY", [&] { Address::parse(*primary); });
    out.primary = *primary;
  }
  if (replicas != nullptr) {
    for (auto& text : endpoints_of(*replicas)) {
      naming("REPLICA_ROUTER_REPLICAS, item " + std::to_string(out.replicas.size() + 1), [&] { Address::parse(text); });
      out.replicas.emplace_back(std::move(text));
    }
  }
  for_each_knob([&](std::string_view name, auto field, auto allowed) {
    auto& value = out.*field;
    auto const* const text = find(name);
    if (text != nullptr && !(read_value(*text, value) && is_allowed(value, allowed))) {
      throw ConfigError{variable_of(name) + " = \"" + *text + "\": allowed is " + allowed_text(value, allowed)};
    }
  });
  return out;
}

}  // namespace detail

template <class Made>
Made Options::from_conninfo(std::string const& text) {
  return detail::options_from_conninfo<Made>(text);
}

template <class Made>
Made Options::from_environment() {
  std::map<std::string, decltype(Made::zone)> ours;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    std::string_view const text{*variable};
    auto const equals = text.find('=');
    if (text.starts_with(detail::variable_prefix) && equals != std::string_view::npos) {
      ours.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return detail::options_from<Made>(ours);
}

}  // namespace replica_router
