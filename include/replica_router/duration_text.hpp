// How is a span of time written in a configuration? `500us`, `250ms`, `2s`, `1min`: a whole number and its unit.
#pragma once

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "replica_router/time_point.hpp"

namespace replica_router {

/// The units a duration may be written in, for messages that say what is allowed.
inline constexpr std::string_view duration_units = "ns, us, ms, s, min, h";

namespace detail {

struct DurationUnit {
  std::string_view name;
  std::uint64_t nanoseconds;
};

/// Longest first: the text of a duration takes the first unit that divides it.
inline constexpr std::array<DurationUnit, 6> duration_unit_table{{{"h", 3'600'000'000'000},
                                                                  {"min", 60'000'000'000},
                                                                  {"s", 1'000'000'000},
                                                                  {"ms", 1'000'000},
                                                                  {"us", 1'000},
                                                                  {"ns", 1}}};

}  // namespace detail

/// Reads a whole number with its unit and nothing else, such as `250ms` or `-1s`; nothing when the text is not one,
/// lacks its unit, or does not fit a `Span` exactly. Whether zero or less makes sense is for the caller to say.
/// Units: see `duration_units`.
template <class Span = Duration>
std::optional<Span> parse_duration(std::string_view text) {
  bool const is_negative = text.starts_with('-');
  if (is_negative) {
    text.remove_prefix(1);
  }
  std::uint64_t number = 0;
  auto const [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  for (auto const& unit : detail::duration_unit_table) {
    if (unit.name != text) {
      continue;
    }
    auto const most = std::uint64_t{std::numeric_limits<std::int64_t>::max()} + (is_negative ? 1 : 0);
    if (number > most / unit.nanoseconds) {
      return std::nullopt;
    }
    auto const magnitude = number * unit.nanoseconds;
    // Negated while unsigned, because the most negative count has no positive counterpart.
    auto const count = static_cast<std::int64_t>(is_negative ? std::uint64_t{0} - magnitude : magnitude);
    std::chrono::nanoseconds const exact{count};
    auto const span = std::chrono::duration_cast<Span>(exact);
    return span == exact ? std::optional{span} : std::nullopt;
  }
  return std::nullopt;
}

/// The shortest exact text, which `parse_duration` reads back to the same duration.
inline std::string duration_text(Duration duration) {
  auto const count = std::int64_t{std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count()};
  if (count == 0) {
    return "0s";
  }
  auto const bits = static_cast<std::uint64_t>(count);
  auto const magnitude = count < 0 ? std::uint64_t{0} - bits : bits;
  std::string text = count < 0 ? "-" : "";
  for (auto const& unit : detail::duration_unit_table) {
    if (magnitude % unit.nanoseconds == 0) {
      text += std::to_string(magnitude / unit.nanoseconds);
      text += unit.name;
      break;
    }
  }
  return text;
}

}  // namespace replica_router
