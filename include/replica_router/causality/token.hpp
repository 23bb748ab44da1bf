// How does a session's position travel? As text that fits a cookie, a header, a URL or a job payload.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "replica_router/causality/lsn.hpp"

namespace replica_router {

/// A position in the log of one cluster: what a session has written or seen. It is a claim, not a proof: whoever takes
/// one in from outside checks it against the cluster.
struct Token {
  std::uint64_t system_identifier = 0;  ///< the cluster's, as in `pg_control_system()`
  std::uint32_t timeline = 0;           ///< the timeline that `lsn` belongs to
  Lsn lsn{};                            ///< everything up to here must be visible

  /// No token's text is longer.
  static constexpr std::size_t longest_text = 52;

  /// Such as `rr1-7301234567890123456-3-16B374D848`: letters, digits and `-` only, one text for each token.
  /// Empty when a part is missing (zero), which no cluster ever has: a position is told whole or not at all.
  std::string text() const {
    if (system_identifier == 0 || timeline == 0 || !lsn) {
      return {};
    }
    std::string out{prefix};
    append(out, system_identifier, 10);
    out += '-';
    append(out, timeline, 10);
    out += '-';
    append(out, lsn.bytes(), 16);
    return out;
  }

  /// Reads what `text()` writes, to the letter; nothing for any other text, however similar.
  static std::optional<Token> parse(std::string_view text) {
    if (!text.starts_with(prefix)) {
      return std::nullopt;
    }
    auto rest = text.substr(prefix.size());
    std::uint64_t lsn = 0;
    Token token;
    if (!take(rest, token.system_identifier, 10) || !take_dash(rest) || !take(rest, token.timeline, 10) ||
        !take_dash(rest) || !take(rest, lsn, 16)) {
      return std::nullopt;
    }
    token.lsn = Lsn{lsn};
    // Leading zeros, lower case, a zero part, anything left over: whatever would print differently is refused here.
    if (token.text() != text) {
      return std::nullopt;
    }
    return token;
  }

  friend constexpr bool operator==(Token const&, Token const&) = default;

 private:
  /// The number is the format's version.
  static constexpr std::string_view prefix = "rr1-";

  static void append(std::string& out, std::uint64_t number, int base) {
    char digits[20] = {};
    auto const* const end = std::to_chars(digits, digits + sizeof digits, number, base).ptr;
    for (auto const* at = digits; at != end; ++at) {
      out += *at >= 'a' ? static_cast<char>(*at - 'a' + 'A') : *at;
    }
  }

  template <class Number>
  static bool take(std::string_view& rest, Number& number, int base) {
    auto const [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number, base);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return error == std::errc{};
  }

  static bool take_dash(std::string_view& rest) {
    if (!rest.starts_with('-')) {
      return false;
    }
    rest.remove_prefix(1);
    return true;
  }
};

}  // namespace replica_router
