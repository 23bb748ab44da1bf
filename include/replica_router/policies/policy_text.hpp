// What does a policy's text say? Reads `sticky(least-lag, window=2s)` into names, nested policies and parameters.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "replica_router/errors.hpp"

namespace replica_router {

/// One policy as it is written: `name(policy, parameter=value)`, every part a view into the text that was read.
struct PolicyText {
  /// A parameter as it is written.
  struct Parameter {
    std::string_view name;
    std::string_view value;
  };

  std::string_view name;
  std::vector<PolicyText> policies;
  std::vector<Parameter> parameters;
};

/// Reads one policy text; knows the grammar, but not which policies there are.
template <class Text = PolicyText>
class PolicyTextReader {
 public:
  /// How many policies may stand inside one another.
  static constexpr std::size_t max_depth = 16;
  /// How long a policy text may be.
  static constexpr std::size_t max_length = 1'000;

  /// Lifetime: what is read views `whole`.
  explicit PolicyTextReader(std::string_view whole) : whole_{whole} {}

  /// Throws: ConfigError that quotes the text and marks what is wrong.
  Text read() {
    if (whole_.size() > max_length) {
      refuse(whole_.substr(max_length), "a policy text has at most " + std::to_string(max_length) + " characters");
    }
    auto policy = read_policy(1);
    if (auto const rest = peek(); !rest.empty()) {
      refuse(rest, "expected nothing after the policy");
    }
    return policy;
  }

  /// Throws the ConfigError that quotes the text, marks `part`, a view into it, and says what is wrong with it.
  [[noreturn]] void refuse(std::string_view part, std::string const& why) const {
    auto const begin = static_cast<std::size_t>(part.data() - whole_.data());
    auto const where = part.empty() ? std::string("the end") : "\"" + printable(part, 40) + "\"";
    throw ConfigError("policy text \"" + printable(whole_, 200) + "\", at " + where + " (character " +
                      std::to_string(begin + 1) + "): " + why);
  }

 private:
  /// Shortened, and without anything that could disturb a terminal or a log.
  static std::string printable(std::string_view text, std::size_t longest) {
    std::string out(text.substr(0, longest));
    std::ranges::replace_if(
        out, [](char c) { return c < ' ' || c > '~'; }, '?');
    return text.size() > longest ? out + "..." : out;
  }

  static constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  static constexpr bool is_mark(char c) { return c == '(' || c == ')' || c == ',' || c == '='; }

  /// The next word or mark without taking it; empty at the end.
  std::string_view peek() {
    while (at_ < whole_.size() && is_space(whole_[at_])) {
      ++at_;
    }
    auto end = at_;
    while (end < whole_.size() && !is_space(whole_[end]) && !is_mark(whole_[end])) {
      ++end;
    }
    if (end == at_ && end < whole_.size()) {
      ++end;
    }
    return whole_.substr(at_, end - at_);
  }

  bool take(std::string_view mark) {
    if (peek() != mark) {
      return false;
    }
    at_ += mark.size();
    return true;
  }

  std::string_view take_word(std::string const& expected) {
    auto const word = peek();
    if (word.empty() || is_mark(word.front())) {
      refuse(word, "expected " + expected);
    }
    at_ += word.size();
    return word;
  }

  Text read_policy(std::size_t depth) { return read_arguments(Text{take_word("the name of a policy"), {}, {}}, depth); }

  Text read_arguments(Text policy, std::size_t depth) {
    if (depth > max_depth) {
      refuse(policy.name, "policies may be nested " + std::to_string(max_depth) + " deep");
    }
    if (!take("(") || take(")")) {
      return policy;
    }
    do {
      auto const word = take_word("a policy or a parameter");
      if (take("=")) {
        policy.parameters.push_back({word, take_word("a value")});
      } else {
        policy.policies.push_back(read_arguments(Text{word, {}, {}}, depth + 1));
      }
    } while (take(","));
    if (!take(")")) {
      refuse(peek(), "expected \",\" or \")\"");
    }
    return policy;
  }

  std::string_view whole_;
  std::size_t at_ = 0;
};

}  // namespace replica_router
