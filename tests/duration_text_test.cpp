#include "replica_router/duration_text.hpp"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace rr = replica_router;
using rr::Duration;
using rr::duration_text;
using rr::parse_duration;
using namespace std::chrono_literals;
using namespace std::string_view_literals;

TEST_CASE("a duration is a whole number and its unit") {
  CHECK(parse_duration("0s") == 0s);
  CHECK(parse_duration("7ns") == 7ns);
  CHECK(parse_duration("500us") == 500us);
  CHECK(parse_duration("250ms") == 250ms);
  CHECK(parse_duration("2s") == 2s);
  CHECK(parse_duration("1min") == 1min);
  CHECK(parse_duration("24h") == 24h);
  CHECK(parse_duration("007s") == 7s);
  CHECK(parse_duration("-3ms") == -3ms);
  CHECK(parse_duration("9223372036854775807ns") == Duration::max());
  CHECK(parse_duration("-9223372036854775808ns") == Duration::min());
  CHECK(parse_duration("2562047h") == 2'562'047h);
}

TEST_CASE("what is not a duration, or does not fit, is refused") {
  for (auto const text : {""sv,
                          "s"sv,
                          "5"sv,
                          "0"sv,
                          "-"sv,
                          "-s"sv,
                          "--5s"sv,
                          "+5s"sv,
                          " 5s"sv,
                          "5 s"sv,
                          "5s "sv,
                          "1.5s"sv,
                          "5S"sv,
                          "5m"sv,
                          "5sec"sv,
                          "5msx"sv,
                          "0x5s"sv,
                          "1e3s"sv,
                          "1h30min"sv,
                          "5s\0"sv,
                          "5\0s"sv,
                          "9223372036854775808ns"sv,
                          "-9223372036854775809ns"sv,
                          "9223372036854776us"sv,
                          "2562048h"sv,
                          "18446744073709551616ns"sv,
                          "99999999999999999999999999s"sv}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("a duration's text is the shortest in whole units") {
  CHECK(duration_text(0s) == "0s");
  CHECK(duration_text(1ns) == "1ns");
  CHECK(duration_text(1'500us) == "1500us");
  CHECK(duration_text(250ms) == "250ms");
  CHECK(duration_text(90s) == "90s");
  CHECK(duration_text(120s) == "2min");
  CHECK(duration_text(3'600s) == "1h");
  CHECK(duration_text(-2s) == "-2s");
  CHECK(duration_text(Duration::max()) == "9223372036854775807ns");
  CHECK(duration_text(Duration::min()) == "-9223372036854775808ns");
}

TEST_CASE("a duration's text reads back to it") {
  std::mt19937_64 random{1};
  for (int i = 0; i < 100'000; ++i) {
    auto count = static_cast<Duration::rep>(random()) >> (random() % 64);
    constexpr Duration::rep thousand = 1'000;
    for (auto zeros = random() % 4;
         zeros > 0 && count != 0 && count < INT64_MAX / thousand && count > INT64_MIN / thousand; --zeros) {
      count *= thousand;
    }
    Duration const duration{count};
    CAPTURE(count, duration_text(duration));
    REQUIRE(parse_duration(duration_text(duration)) == duration);
  }
}

TEST_CASE("random text never misleads") {
  std::mt19937_64 random{2};
  constexpr auto letters = "0123456789-+. numshi\0"sv;
  for (int i = 0; i < 100'000; ++i) {
    std::string text;
    for (auto length = random() % 12; length > 0; --length) {
      text += letters[random() % letters.size()];
    }
    if (auto const duration = parse_duration(text)) {
      CAPTURE(text);
      REQUIRE(parse_duration(duration_text(*duration)) == duration);
      REQUIRE(text.find_first_of(" +."sv) == std::string::npos);
    }
  }
}
