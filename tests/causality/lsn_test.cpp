#include "replica_router/causality/lsn.hpp"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace rr = replica_router;
using rr::Lsn;
using namespace std::string_view_literals;

TEST_CASE("an lsn reads the server's text") {
  CHECK(Lsn::parse("16/B374D848") == Lsn{0x16'B374'D848});
  CHECK(Lsn::parse("0/0") == Lsn{0});
  CHECK(Lsn::parse("0/16B3748") == Lsn{0x16B'3748});
  CHECK(Lsn::parse("FFFFFFFF/FFFFFFFF") == Lsn{0xFFFF'FFFF'FFFF'FFFF});
  CHECK(Lsn::parse("ab/cd") == Lsn{0xAB'0000'00CD});
}

TEST_CASE("what is not an lsn is refused") {
  for (auto const text :
       {""sv, "/"sv, "0"sv, "0/"sv, "/0"sv, "0/0/0"sv, "0/0 "sv, " 0/0"sv, "-1/0"sv, "+1/0"sv, "0x1/0"sv, "G/0"sv,
        "100000000/0"sv, "0/100000000"sv, "0/000000000"sv, "0\0/0"sv, "0/0\0"sv}) {
    CAPTURE(text);
    CHECK_FALSE(Lsn::parse(text));
  }
}

TEST_CASE("an lsn's text reads back to it") {
  CHECK(Lsn{0x16'B374'D848}.text() == "16/B374D848");
  CHECK(Lsn{}.text() == "0/0");
  std::mt19937_64 random{1};
  for (int i = 0; i < 10'000; ++i) {
    Lsn const lsn{random() >> (random() % 64)};
    REQUIRE(Lsn::parse(lsn.text()) == lsn);
  }
  CHECK(Lsn::parse(Lsn{UINT64_MAX}.text()) == Lsn{UINT64_MAX});
}

TEST_CASE("lsns compare and subtract by their bytes") {
  std::mt19937_64 random{2};
  for (int i = 0; i < 10'000; ++i) {
    auto const a = random() >> (random() % 64);
    auto const b = random() >> (random() % 64);
    REQUIRE((Lsn{a} < Lsn{b}) == (a < b));
    REQUIRE((Lsn{a} == Lsn{b}) == (a == b));
    REQUIRE(Lsn{a}.bytes_since(Lsn{b}) == (a > b ? a - b : 0));
  }
  CHECK_FALSE(Lsn{});
  CHECK(Lsn{1});
}

TEST_CASE("a position just past a page header is moved back to the page's boundary, every other one stays") {
  for (std::uint64_t const page : {std::uint64_t{0}, std::uint64_t{5}, std::uint64_t{2048}, UINT64_MAX / 8192}) {
    for (std::uint64_t offset = 0; offset < 8192; ++offset) {
      Lsn const lsn{page * 8192 + offset};
      REQUIRE(lsn.before_page_header() == (offset == 24 || offset == 40 ? Lsn{page * 8192} : lsn));
      REQUIRE(lsn.before_page_header().before_page_header() == lsn.before_page_header());
    }
  }
}
