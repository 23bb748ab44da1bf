// Where in the write-ahead log? A PostgreSQL log sequence number.
#pragma once

#include <charconv>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace replica_router {

/// A position in PostgreSQL's write-ahead log, in bytes since its beginning. Zero means "no position".
/// Positions are comparable only within one timeline of one cluster.
/// Source: PostgreSQL documentation, "pg_lsn Type".
class Lsn {
 public:
  constexpr Lsn() = default;
  /// The position `bytes` after the beginning of the log.
  constexpr explicit Lsn(std::uint64_t bytes) : bytes_{bytes} {}

  /// Reads the server's text form, two hexadecimal halves such as `16/B374D848`; nothing when the text is not one.
  static constexpr std::optional<Lsn> parse(std::string_view text) {
    auto const slash = text.find('/');
    std::uint32_t high = 0;
    std::uint32_t low = 0;
    if (slash == std::string_view::npos || !read_half(text.substr(0, slash), high) ||
        !read_half(text.substr(slash + 1), low)) {
      return std::nullopt;
    }
    return Lsn{(std::uint64_t{high} << 32) | low};
  }

  /// The server's text form.
  std::string text() const {
    char buffer[24];
    auto* const end = buffer + sizeof buffer;
    auto* at = std::to_chars(buffer, end, bytes_ >> 32, 16).ptr;
    *at++ = '/';
    at = std::to_chars(at, end, bytes_ & 0xFFFFFFFFU, 16).ptr;
    std::string out(buffer, at);
    for (auto& c : out) {
      if (c >= 'a' && c <= 'f') {
        c = static_cast<char>(c - 'a' + 'A');
      }
    }
    return out;
  }

  /// The position in bytes since the beginning of the log.
  constexpr std::uint64_t bytes() const { return bytes_; }

  /// False for the zero position, which stands for "none".
  constexpr explicit operator bool() const { return bytes_ != 0; }

  /// The same position, with one that lies just past a page header moved back to the page boundary.
  ///
  /// An insert position can sit 24 bytes past a page boundary (40 at the start of a segment) although nothing was
  /// written there yet, while a replica that has replayed everything reports the boundary. Moving back is always safe:
  /// no record is shorter than 24 bytes, so no record starts at the boundary's header and ends at either place.
  /// Source: PostgreSQL `xlog.c` (`XLogBytePosToRecPtr`), `xlog_internal.h` (`SizeOfXLogShortPHD`,
  /// `SizeOfXLogLongPHD`).
  constexpr Lsn before_page_header() const {
    constexpr std::uint64_t page = 8192;
    constexpr std::uint64_t short_header = 24;
    constexpr std::uint64_t long_header = 40;
    auto const offset = bytes_ % page;
    return offset == short_header || offset == long_header ? Lsn{bytes_ - offset} : *this;
  }

  /// How many bytes of log lie between the two; zero when `earlier` is not earlier.
  constexpr std::uint64_t bytes_since(Lsn earlier) const {
    return bytes_ > earlier.bytes_ ? bytes_ - earlier.bytes_ : 0;
  }

  friend constexpr auto operator<=>(Lsn, Lsn) = default;

 private:
  static constexpr bool read_half(std::string_view digits, std::uint32_t& value) {
    if (digits.empty() || digits.size() > 8) {
      return false;
    }
    for (char const c : digits) {
      std::uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<std::uint32_t>(c - '0');
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<std::uint32_t>(c - 'A' + 10);
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<std::uint32_t>(c - 'a' + 10);
      } else {
        return false;
      }
      value = (value << 4) | digit;
    }
    return true;
  }

  std::uint64_t bytes_ = 0;
};

}  // namespace replica_router
