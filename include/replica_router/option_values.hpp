// How is an option's value written, and what may it be? One set of functions for each kind of value.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "replica_router/duration_text.hpp"
#include "replica_router/read_options.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// An enumerator and how it is written.
template <class Enum>
struct Word {
  std::string_view text;
  Enum value;
};

/// The words for it.
constexpr std::array<Word<OnUnmet>, 3> words_of(OnUnmet) {
  return {{{"primary", OnUnmet::primary}, {"fail", OnUnmet::fail}, {"serve_stale", OnUnmet::serve_stale}}};
}

/// The words for it.
constexpr std::array<Word<MonotonicReads>, 2> words_of(MonotonicReads) {
  return {{{"off", MonotonicReads::off}, {"on", MonotonicReads::on}}};
}

}  // namespace replica_router

namespace replica_router::detail {

/// What a number or duration may be, both ends included.
template <class Value>
struct Range {
  Value least;
  Value most;
};

/// Any text without control characters; any word of an enumeration.
struct AnyOfItsKind {};

using Milliseconds = std::chrono::milliseconds;

/// A year: far inside what a nanosecond clock can count.
inline constexpr Milliseconds longest_duration = longest_wait;
inline constexpr Range<Milliseconds> positive{Milliseconds{1}, longest_duration};
inline constexpr Range<Milliseconds> zero_or_more{Milliseconds{0}, longest_duration};

template <class Enum>
concept Enumeration = std::is_enum_v<Enum>;

// A value's text.
inline std::string text_of(int value) { return std::to_string(value); }
inline std::string text_of(Milliseconds value) {
  bool const fits_nanoseconds = value <= longest_duration && value >= -longest_duration;
  return fits_nanoseconds ? duration_text(value) : std::to_string(value.count()) + "ms";
}
inline std::string text_of(std::optional<Milliseconds> const& value) { return value ? text_of(*value) : "none"; }
inline std::string text_of(std::string const& value) { return value; }
template <Enumeration Enum>
std::string text_of(Enum value) {
  for (auto const& word : words_of(value)) {
    if (word.value == value) {
      return std::string{word.text};
    }
  }
  return std::to_string(static_cast<int>(value));
}

// Whether it may be so.
template <class Value>
bool is_allowed(Value value, Range<Value> allowed) {
  return value >= allowed.least && value <= allowed.most;
}
inline bool is_allowed(std::optional<Milliseconds> const& value, Range<Milliseconds> allowed) {
  return !value || is_allowed(*value, allowed);
}
template <std::same_as<std::string> Text>
bool is_allowed(Text const& value, AnyOfItsKind) {
  return std::none_of(value.begin(), value.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}
template <Enumeration Enum>
bool is_allowed(Enum value, AnyOfItsKind) {
  auto const words = words_of(value);
  return std::any_of(words.begin(), words.end(), [&](auto const& word) { return word.value == value; });
}

// What else it may be, in words.
template <class Value>
std::string allowed_text(Value const&, Range<Value> allowed) {
  return text_of(allowed.least) + " to " + text_of(allowed.most);
}
inline std::string allowed_text(std::optional<Milliseconds> const&, Range<Milliseconds> allowed) {
  return allowed_text(Milliseconds{}, allowed) + ", or none";
}
inline std::string allowed_text(std::string const&, AnyOfItsKind) { return "text without control characters"; }
template <Enumeration Enum>
std::string allowed_text(Enum value, AnyOfItsKind) {
  std::string out;
  for (auto const& word : words_of(value)) {
    out += out.empty() ? "" : ", ";
    out += word.text;
  }
  return out;
}

// The way back from text; false when it is none. Whether the value is allowed is another question.
template <std::same_as<int> Number>
bool read_value(std::string_view text, Number& value) {
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}
template <std::same_as<Milliseconds> Span>
bool read_value(std::string_view text, Span& value) {
  auto const span = parse_duration<Span>(text);
  value = span.value_or(value);
  return span.has_value();
}
template <std::same_as<std::optional<Milliseconds>> Limit>
bool read_value(std::string_view text, Limit& value) {
  if (text == "none") {
    value.reset();
    return true;
  }
  return read_value(text, value.emplace());
}
inline bool read_value(std::string_view text, std::string& value) {
  value = text;
  return true;
}
template <Enumeration Enum>
bool read_value(std::string_view text, Enum& value) {
  for (auto const& word : words_of(value)) {
    if (word.text == text) {
      value = word.value;
      return true;
    }
  }
  return false;
}

}  // namespace replica_router::detail
