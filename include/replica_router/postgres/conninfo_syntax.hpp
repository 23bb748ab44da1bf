// What of a connection string may be told? The pieces of its syntax, and messages that can leak no password.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "replica_router/near_name.hpp"

namespace replica_router::detail {

/// What separates the words of a connection string.
inline constexpr std::string_view blanks = " \t\r\n\f\v";

/// Whether libpq reads the text as a URI. Source: PostgreSQL fe-connect.c (`uri_prefix_length`).
inline bool is_uri(std::string_view text) {
  return text.starts_with("postgresql://") || text.starts_with("postgres://");
}

/// The items of a comma-separated list; one empty item for an empty text.
template <class Item>
std::vector<Item> items_of(std::string_view list) {
  std::vector<Item> items;
  while (true) {
    auto const comma = list.find(',');
    items.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) {
      return items;
    }
    list.remove_prefix(comma + 1);
  }
}

/// A port's number; nothing when the text is not a number from 1 to 65535. Blanks around it are allowed, as in libpq.
template <class Port = std::uint16_t>
std::optional<Port> port_of(std::string_view text) {
  while (text.starts_with(' ')) {
    text.remove_prefix(1);
  }
  while (text.ends_with(' ')) {
    text.remove_suffix(1);
  }
  Port port = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) {
    return std::nullopt;
  }
  return port;
}

/// The value as a connection string takes it, between single quotes.
inline std::string quoted(std::string_view value) {
  std::string out{"'"};
  for (char const c : value) {
    if (c == '\'' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out += '\'';
}

/// Whether the value only says where to connect, so that people may see it. Keywords that we do not know may not.
inline bool is_shown(std::string_view keyword) {
  static constexpr std::array<std::string_view, 7> shown{"host", "hostaddr", "port",   "dbname",
                                                         "user", "service",  "sslmode"};
  return std::find(shown.begin(), shown.end(), keyword) != shown.end();
}

/// Whether the value has run on into another keyword or a whole URI, and so perhaps into a password.
inline bool swallows_another(std::string_view value) {
  return value.find('=') != std::string_view::npos || value.find("://") != std::string_view::npos;
}

/// The value, or three stars where people may not see it.
inline std::string shown_value(std::string_view keyword, std::string const& value) {
  return is_shown(keyword) && !swallows_another(value) ? value : "***";
}

/// Why a URI that libpq would accept surely is not meant so; empty when nothing is wrong with it.
///
/// A `/` or `@` in a password, without its percent sign, makes libpq take the rest of the password for a host, port or
/// database, all of which people see.
inline std::string_view flaw_of_uri(std::string_view text) {
  if (!is_uri(text)) {
    return {};
  }
  text.remove_prefix(text.find("://") + 3);
  if (auto const at_sign = text.find('@'); at_sign < text.find('/')) {
    text.remove_prefix(at_sign + 1);
  }
  auto const place = text.substr(0, text.find('?'));
  auto const database = place.substr(std::min(place.find('/'), place.size()));
  bool const has_flaw = place.find('@') != std::string_view::npos || database.find(':') != std::string_view::npos;
  return has_flaw
             ? "the URI has an \"@\", \":\" or \"/\" where none belongs: in a user name, password or database write "
               "them as %40, %3A and %2F"
             : std::string_view{};
}

/// libpq's reason for refusing a text, in words of ours: its own quote parts of the text, which can be a password.
template <class Keywords>
std::string safe_reason(std::string_view message, Keywords const& keywords) {
  struct Known {
    std::string_view theirs;
    std::string_view ours;
  };
  static constexpr std::array<Known, 10> all_known{{
      {"missing \"=\" after", "missing \"=\" after a word; a value with blanks belongs between single quotes"},
      {"unterminated quoted string", "unterminated quoted string"},
      {"invalid connection option", "unknown keyword"},
      {"invalid URI query parameter", "unknown query parameter in the URI"},
      {"extra key/value separator", "more than one \"=\" in a query parameter of the URI"},
      {"missing key/value separator", "missing \"=\" in a query parameter of the URI"},
      {"invalid percent-encoded token",
       "in the URI a \"%\" is not followed by two hexadecimal digits; write it as %25"},
      {"forbidden value %00", "the URI contains %00"},
      {"IPv6 host address", "malformed IPv6 host address in the URI"},
      {"unexpected character", "unexpected character after a host in the URI"},
  }};
  for (auto const& known : all_known) {
    if (message.find(known.theirs) == std::string_view::npos) {
      continue;
    }
    std::string out{known.ours};
    // Only a keyword of libpq's own is ever shown, never the text that resembles it.
    if (auto const open = message.find('"'); known.ours.starts_with("unknown") && open != std::string_view::npos) {
      auto const word = message.substr(open + 1, message.find('"', open + 1) - open - 1);
      auto const meant = near_name(word, keywords);
      out += meant.empty() ? "" : " (was \"" + std::string{meant} + "\" meant?)";
    }
    return out;
  }
  return "its reason is not shown, because it may quote a password";
}

/// The user's own command-line options for the server with one setting more, which wins over theirs.
/// Source: PostgreSQL postinit.c (`pg_split_opts`): blanks separate, a backslash keeps what follows it.
inline std::string with_server_setting(std::string options, std::string_view name, std::string_view value) {
  auto const backslashes = options.size() - (options.find_last_not_of('\\') + 1);
  if (backslashes % 2 == 1) {
    options.pop_back();  // means nothing at the end, but would swallow our separator
  }
  options += options.empty() ? "-c " : " -c ";
  options += name;
  options += '=';
  for (char const c : value) {
    if (c == '\\' || c == ' ' || (c >= '\t' && c <= '\r')) {
      options += '\\';
    }
    options += c;
  }
  return options;
}

}  // namespace replica_router::detail
