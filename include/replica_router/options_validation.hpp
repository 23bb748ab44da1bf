// Are these options acceptable? The one place where all of them are checked and what was left open is filled in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"
#include "replica_router/options.hpp"
#include "replica_router/postgres/conninfo.hpp"

namespace replica_router {
namespace detail {

/// The error for a field: what it is, and what it may be.
inline ConfigError refusal(std::string_view field, std::string_view value, std::string_view allowed) {
  return ConfigError{std::string{field} + " = " + std::string{value} + ": allowed is " + std::string{allowed}};
}

template <class Checked>
void check_knobs(Checked const& options) {
  for_each_knob([&](std::string_view name, auto field, auto allowed) {
    auto const& value = options.*field;
    if (!is_allowed(value, allowed)) {
      bool const is_text = std::is_same_v<std::remove_cvref_t<decltype(value)>, std::string>;
      throw refusal(name, is_text ? "(text with control characters)" : text_of(value), allowed_text(value, allowed));
    }
  });
  if (options.reserved_for_writes >= options.max_connections) {
    throw refusal("reserved_for_writes", text_of(options.reserved_for_writes),
                  "0 to max_connections - 1 = " + text_of(options.max_connections - 1) +
                      ", so that a read can still fall back to the primary");
  }
  if (options.idle_probe_interval < options.probe_interval) {
    throw refusal("idle_probe_interval", text_of(options.idle_probe_interval),
                  "at least probe_interval = " + text_of(options.probe_interval));
  }
  if (options.max_backoff < options.backoff) {
    throw refusal("max_backoff", text_of(options.max_backoff), "at least backoff = " + text_of(options.backoff));
  }
}

/// An endpoint with the place where it was written.
template <class Address = ConnInfo>
struct PlacedEndpoint {
  std::string field;
  Endpoint* endpoint;
  Address conninfo;
};

template <class Address = ConnInfo>
PlacedEndpoint<Address> checked(std::string field, Endpoint& endpoint) {
  constexpr std::uint32_t most_weight = 1'000'000;
  if (endpoint.weight < 1 || endpoint.weight > most_weight) {
    throw refusal(field + ".weight", std::to_string(endpoint.weight), "1 to " + std::to_string(most_weight));
  }
  auto const check_trait = [&](char const* trait, std::string const& text) {
    if (!is_allowed(text, AnyOfItsKind{})) {
      throw refusal(field + trait, "(text with control characters)", allowed_text(text, AnyOfItsKind{}));
    }
  };
  check_trait(".name", endpoint.name);
  check_trait(".zone", endpoint.zone);
  try {
    auto conninfo = Address::parse(endpoint.conninfo);
    auto const count = conninfo.hosts().size();
    if (count != 1) {
      throw ConfigError{std::to_string(count) + " hosts in " + conninfo.safe_text() +
                        ": an endpoint is one host; Options::from_conninfo takes a text with several"};
    }
    // The router finds the roles itself, and a node may change its role: no label may keep us out.
    conninfo.set("target_session_attrs", "any");
    endpoint.conninfo = conninfo.text();
    return {std::move(field), &endpoint, std::move(conninfo)};
  } catch (ConfigError const& error) {
    throw ConfigError{field + ": " + error.what()};
  }
}

/// Gives the nameless their names: `host:port`, with the database where that alone is not unique.
template <class Placed>
void name_all(std::vector<Placed>& placed) {
  auto const count = [](auto const& names, auto const& name) { return std::count(names.begin(), names.end(), name); };
  std::vector<std::string> taken;
  std::vector<std::string> short_names;
  for (auto const& [field, endpoint, conninfo] : placed) {
    taken.push_back(endpoint->name);
    short_names.push_back(endpoint->name.empty() ? conninfo.host_and_port() : endpoint->name);
  }
  for (std::size_t i = 0; i < placed.size(); ++i) {
    if (!placed[i].endpoint->name.empty()) {
      continue;
    }
    bool const is_unique = count(short_names, short_names[i]) == 1;
    auto const base = is_unique ? short_names[i] : placed[i].conninfo.address();
    auto name = base;
    for (int n = 2; count(taken, name) > 0; ++n) {
      name = base + '#' + std::to_string(n);
    }
    taken[i] = name;
    placed[i].endpoint->name = std::move(name);
  }
}

}  // namespace detail

/// The options with nothing left open: every endpoint has a unique name, every value is in its range.
/// Throws: `ConfigError` naming the field, its value (never a password) and what is allowed.
/// Thread safety: as `ConnInfo::parse`, which reads libpq's environment variables.
template <class Address = ConnInfo>
Options validated(Options options) {
  detail::check_knobs(options);
  auto const is_blank = [](Endpoint const& endpoint) {
    return endpoint.conninfo.find_first_not_of(detail::blanks) == std::string::npos;
  };
  if (is_blank(options.primary)) {
    throw ConfigError{
        "no primary: set Options::primary (or REPLICA_ROUTER_PRIMARY) to a libpq connection string or URI, such as "
        "\"host=db-1 dbname=shop\""};
  }
  std::vector<detail::PlacedEndpoint<Address>> placed;
  placed.push_back(detail::checked<Address>("primary", options.primary));
  for (std::size_t i = 0; i < options.replicas.size(); ++i) {
    auto field = "replicas[" + std::to_string(i) + "]";
    if (is_blank(options.replicas[i])) {
      throw ConfigError{field + " is empty: it must be a libpq connection string or URI"};
    }
    placed.push_back(detail::checked<Address>(std::move(field), options.replicas[i]));
  }
  for (auto const& one : placed) {
    for (auto const* other = placed.data(); other != &one; ++other) {
      if (one.conninfo.key() == other->conninfo.key()) {
        throw ConfigError{one.field + " = " + one.conninfo.address() + " is the same endpoint as " + other->field +
                          ": each node may be named once"};
      }
      if (!one.endpoint->name.empty() && one.endpoint->name == other->endpoint->name) {
        throw ConfigError{one.field + ".name = " + one.endpoint->name + " is also the name of " + other->field +
                          ": names must be unique"};
      }
    }
  }
  detail::name_all(placed);
  return options;
}

}  // namespace replica_router
