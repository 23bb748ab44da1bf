#include "replica_router/causality/token.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace rr = replica_router;
using rr::Lsn;
using rr::Token;
using namespace std::string_view_literals;

namespace {

constexpr std::string_view safe_everywhere = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";

Token some_token(std::mt19937_64& random) {
  auto const some = [&] { return (random() >> (random() % 64)) | 1U; };
  return {some(), static_cast<std::uint32_t>(some()), Lsn{some()}};
}

}  // namespace

TEST_CASE("a token's text reads back to it and is safe in cookies, headers, URLs and JSON") {
  CHECK(Token{7301234567890123456U, 3, Lsn{0x16'B374'D848}}.text() == "rr1-7301234567890123456-3-16B374D848");
  std::mt19937_64 random{1};
  for (int i = 0; i < 100'000; ++i) {
    auto const token = some_token(random);
    auto const text = token.text();
    REQUIRE(Token::parse(text) == token);
    REQUIRE(text.find_first_not_of(safe_everywhere) == std::string::npos);
    REQUIRE(text.size() <= Token::longest_text);
  }
  Token const largest{UINT64_MAX, UINT32_MAX, Lsn{UINT64_MAX}};
  CHECK(largest.text().size() == Token::longest_text);
  CHECK(Token::parse(largest.text()) == largest);
}

TEST_CASE("a token that lacks a part has no text") {
  CHECK(Token{}.text().empty());
  CHECK(Token{0, 1, Lsn{1}}.text().empty());
  CHECK(Token{1, 0, Lsn{1}}.text().empty());
  CHECK(Token{1, 1, Lsn{}}.text().empty());
}

TEST_CASE("what is not a token to the letter is refused") {
  REQUIRE(Token::parse("rr1-12-3-AB"));
  for (auto const text : {""sv,
                          "rr1"sv,
                          "rr1-"sv,
                          "rr1--"sv,
                          "rr1---"sv,
                          "rr1-12-3"sv,
                          "rr1-12-3-"sv,
                          "rr1-12--AB"sv,
                          "rr1--3-AB"sv,
                          "rr1-12-3-ab"sv,
                          "RR1-12-3-AB"sv,
                          "Rr1-12-3-AB"sv,
                          "rr2-12-3-AB"sv,
                          "rr1_12_3_AB"sv,
                          "rr1-12-3-AB-"sv,
                          "rr1-12-3-AB "sv,
                          " rr1-12-3-AB"sv,
                          "rr1-012-3-AB"sv,
                          "rr1-12-03-AB"sv,
                          "rr1-12-3-0AB"sv,
                          "rr1-+12-3-AB"sv,
                          "rr1--12-3-AB"sv,
                          "rr1-12-3-0xAB"sv,
                          "rr1-12-3-A/B"sv,
                          "rr1-0-3-AB"sv,
                          "rr1-12-0-AB"sv,
                          "rr1-12-3-0"sv,
                          "rr1-12-3-AB\0"sv,
                          "rr1-12\0-3-AB"sv,
                          "\0rr1-12-3-AB"sv,
                          "rr1-12-3-AB\n"sv,
                          "\"rr1-12-3-AB\""sv,
                          "rr1-18446744073709551616-3-AB"sv,
                          "rr1-12-4294967296-AB"sv,
                          "rr1-12-3-10000000000000000"sv,
                          "16/B374D848"sv}) {
    CAPTURE(text);
    CHECK_FALSE(Token::parse(text));
  }
  CHECK_FALSE(Token::parse("rr1-12-3-AB" + std::string(1'000'000, '0')));
  CHECK_FALSE(Token::parse("rr1-" + std::string(1'000'000, '0') + "12-3-AB"));
}

TEST_CASE("ten thousand random texts: none is taken that would print differently") {
  std::mt19937_64 random{2};
  constexpr auto alphabet = "rr1-0123456789ABCDEFabcdef-/ _.\0\xFF"sv;
  for (int i = 0; i < 10'000; ++i) {
    std::string text{random() % 2 == 0 ? "rr1-" : ""};
    auto const length = random() % 60;
    while (text.size() < length) {
      text += alphabet[random() % alphabet.size()];
    }
    if (auto const token = Token::parse(text)) {
      REQUIRE(token->text() == text);
    }
  }
}

TEST_CASE("mutations of valid texts: refused, or another token's one text") {
  std::mt19937_64 random{3};
  int refused = 0;
  for (int i = 0; i < 100'000; ++i) {
    auto const original = some_token(random).text();
    auto text = original;
    auto const place = random() % text.size();
    switch (random() % 4) {
      case 0: text.erase(place, 1); break;
      case 1: text.insert(place, 1, static_cast<char>(random() % 256)); break;
      case 2: text[place] = static_cast<char>(random() % 256); break;
      default: text[place] = static_cast<char>(text[place] ^ 0x20); break;
    }
    auto const token = Token::parse(text);
    refused += token ? 0 : 1;
    if (token) {
      REQUIRE(token->text() == text);
      if (text != original) {
        REQUIRE(token != Token::parse(original));
      }
    }
  }
  CHECK(refused > 50'000);
}
