#include "replica_router/postgres/conninfo.hpp"

#include <libpq-fe.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "../support/scoped_environment.hpp"

namespace rr = replica_router;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Message;
using Catch::Matchers::MessageMatches;
using rr::ConnInfo;
using rr::testing::ScopedEnvironment;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

/// Random text of what makes connection strings difficult.
std::string some_value(std::mt19937_64& random) {
  constexpr auto alphabet = "aZ09 '\\\"=;,@/%:?&#\t\n\xC3\xA4"sv;
  std::string out;
  auto const length = 1 + random() % 12;
  while (out.size() < length) {
    out += alphabet[random() % alphabet.size()];
  }
  return out;
}

// No three of its letters in a row occur in any message of ours or libpq's.
constexpr auto secret = "Zq7xVw9Kj4"sv;

bool leaks(std::string_view text) {
  for (std::size_t i = 0; i + 3 <= secret.size(); ++i) {
    if (text.find(secret.substr(i, 3)) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace

TEST_CASE("strings and URIs are read as libpq reads them") {
  ScopedEnvironment const environment;
  auto const plain = ConnInfo::parse("host=db-1 port = 5433 user=app password='it\\'s' dbname=shop");
  CHECK(plain.value("host") == "db-1");
  CHECK(plain.value("port") == "5433");
  CHECK(plain.value("password") == "it's");
  CHECK(plain.value("dbname") == "shop");
  CHECK(plain.value("sslmode") == "prefer");
  CHECK(plain.is_given("host"));
  CHECK_FALSE(plain.is_given("sslmode"));
  auto const uri = ConnInfo::parse("postgresql://app:p%40ss@[::1]:5433/shop?application_name=a%20b");
  CHECK(uri.value("host") == "::1");
  CHECK(uri.value("password") == "p@ss");
  CHECK(uri.value("application_name") == "a b");
  CHECK(ConnInfo::parse("postgres://db-1").value("host") == "db-1");
  CHECK(ConnInfo::parse("").keywords() == std::vector<char const*>{nullptr});
  CHECK_FALSE(ConnInfo::parse("host='' password=''").is_given("host"));
}

TEST_CASE("what is not given comes from the environment, unless a service may say it") {
  ScopedEnvironment const environment{{{"PGHOST", "db-env"}, {"PGPORT", "6000"}, {"PGDATABASE", "shop"}}};
  auto const conninfo = ConnInfo::parse("user=app");
  CHECK(conninfo.value("host") == "db-env");
  CHECK(conninfo.address() == "db-env:6000/shop");
  CHECK(ConnInfo::parse("host=db-1 port=1 dbname=other").address() == "db-1:1/other");
  auto const service = ConnInfo::parse("service=main");
  CHECK(service.value("host").empty());
  CHECK(service.address() == "service=main");
}

TEST_CASE("a keyword that libpq does not know is a mistake of the caller") {
  auto conninfo = ConnInfo::parse("host=db-1");
  CHECK_THROWS_MATCHES(conninfo.set("hots", "x"), rr::UsageError,
                       Message("libpq knows no connection keyword \"hots\""));
  CHECK_THROWS_AS(conninfo.value("hots"), rr::UsageError);
}

TEST_CASE("texts that cannot be parsed are refused with libpq's reason and none of the password") {
  struct Case {
    std::string text;
    char const* reason;
  };
  auto const s = std::string{secret};
  for (auto const& [text, reason] : {
           Case{"host=a password=x " + s, "missing \"=\" after a word"},
           Case{"host=a password=x " + s + "=1", "unknown keyword"},
           Case{"password='" + s, "unterminated quoted string"},
           Case{s, "missing \"=\""},
           Case{"host=a passwrd=" + s, "unknown keyword (was \"password\" meant?)"},
           Case{"postgresql://u:" + s + "@[::1/db", "malformed IPv6"},
           Case{"postgresql://u:" + s + "@[]/db", "malformed IPv6"},
           Case{"postgresql://u:" + s + "@[::1]x/db", "unexpected character"},
           Case{"postgresql://u:" + s + "%zz@db-1/db", "not followed by two hexadecimal digits"},
           Case{"postgresql://u:" + s + "%00@db-1/db", "%00"},
           Case{"postgresql://u@db-1/db?" + s + "=1", "unknown query parameter"},
           Case{"postgresql://u@db-1/db?sslmod=" + s, "unknown query parameter in the URI (was \"sslmode\" meant?)"},
           Case{"postgresql://u@db-1/db?" + s, "missing \"=\" in a query parameter"},
           Case{"postgresql://u@db-1/db?password=" + s + "=", "more than one \"=\""},
           Case{"postgresql://u:1/" + s + "@db-1/db", "%2F"},
           Case{"postgresql://u:1@" + s + "@db-1/db", "%40"},
           Case{"postgresql://user:" + s, "not a number from 1 to 65535"},
           Case{"postgresql://db-1/db&password=" + s, "the value of dbname must not contain"},
           Case{"host=db-1password=" + s, "the value of host must not contain"},
           Case{"host=db-1 dbname=postgresql://u:" + s + "@db-1/db", "the value of dbname must not contain"},
           Case{"ostgresql://u:" + s + "@db-1/db", "missing \"=\""},
       }) {
    std::string message;
    try {
      ConnInfo::parse(text);
    } catch (rr::ConfigError const& error) {
      message = error.what();
    }
    CAPTURE(text, message);
    CHECK_THAT(message, ContainsSubstring(reason));
    CHECK_FALSE(leaks(message));
  }
}

TEST_CASE("a port is a number from 1 to 65535") {
  ScopedEnvironment const environment;
  for (auto const* const port : {"0", "65536", "99999999999", "-1", "5432x", "x", "5,0"}) {
    CHECK_THROWS_MATCHES(ConnInfo::parse("host=db-1 port=" + std::string{port}), rr::ConfigError,
                         MessageMatches(ContainsSubstring("is not a number from 1 to 65535")));
  }
  CHECK(ConnInfo::parse("host=db-1 port=' 05433 '").host_and_port() == "db-1:5433");
  CHECK(ConnInfo::parse("host=db-1 port=65535").host_and_port() == "db-1:65535");
}

TEST_CASE("a zero byte is refused, which libpq would take for the end") {
  CHECK_THROWS_AS(ConnInfo::parse("host=db-1\0 password=x"s), rr::ConfigError);
}

TEST_CASE("whatever happens to a string on the way, the password shows nowhere") {
  ScopedEnvironment const environment;
  std::mt19937_64 random{1};
  auto const s = std::string{secret};
  std::vector<std::string> const originals{
      "host=db-1 port=5433 user=app password=" + s + " dbname=shop",
      "host=db-1 password='x " + s + "' dbname=shop",
      "password = '" + s + "' host=db-1,db-2 port=1,2",
      "postgresql://app:" + s + "@db-1:5433/shop?sslmode=require",
      "postgresql://app:x%20" + s + "@db-1,db-2/shop",
      "postgresql://app@db-1/shop?password=" + s + "&connect_timeout=3",
  };
  constexpr auto blanks = " \n"sv;
  constexpr auto noise = " '\\=@/%:?&,;[]\"#\n"sv;
  int refused = 0;
  for (int i = 0; i < 60'000; ++i) {
    auto text = originals[static_cast<std::size_t>(i) % originals.size()];
    auto const mutations = 1 + random() % 2;
    for (std::uint64_t m = 0; m < mutations; ++m) {
      auto const place = random() % text.size();
      switch (random() % 3) {
        case 0: text.erase(place, 1); break;
        case 1: text.insert(place, 1, noise[random() % noise.size()]); break;
        default: text[place] = noise[random() % noise.size()]; break;
      }
    }
    // A broken password is none, and one that two mutations have made part of another word is beyond help.
    bool const is_user = text.find("://") != std::string::npos && text.find("app@") == std::string::npos &&
                         text.find("app:") == std::string::npos;
    auto const word = text.find("password");
    bool const is_glued = word != std::string::npos && word > 0 &&
                          blanks.find(text[word - 1]) == std::string_view::npos &&
                          text.substr(word, text.find(secret) - word).find('=') == std::string::npos;
    if (text.find(secret) == std::string::npos || is_user || is_glued) {
      continue;
    }
    std::string shown;
    try {
      auto const conninfo = ConnInfo::parse(text);
      shown = conninfo.safe_text() + conninfo.address();
      for (auto const& host : conninfo.hosts()) {
        shown += host.address();
      }
    } catch (rr::ConfigError const& error) {
      shown += error.what();
      ++refused;
    }
    CAPTURE(text, shown);
    REQUIRE_FALSE(leaks(shown));
  }
  CHECK(refused > 5'000);
}

TEST_CASE("values with blanks, quotes and backslashes survive the text and libpq's arrays") {
  ScopedEnvironment const environment;
  std::mt19937_64 random{2};
  for (int i = 0; i < 10'000; ++i) {
    auto conninfo = ConnInfo::parse("");
    auto const password = some_value(random);
    auto const application = some_value(random);
    conninfo.set("password", password);
    conninfo.set("application_name", application);
    auto const again = ConnInfo::parse(conninfo.text());
    REQUIRE(again.value("password") == password);
    REQUIRE(again.value("application_name") == application);
    REQUIRE(again.text() == conninfo.text());
  }
  for (int i = 0; i < 100; ++i) {
    auto const password = some_value(random);
    auto conninfo = ConnInfo::parse("host=127.0.0.1 port=1");
    conninfo.set("password", password);
    auto const keywords = conninfo.keywords();
    auto const values = conninfo.values();
    std::unique_ptr<PGconn, decltype(&PQfinish)> const connection{
        PQconnectStartParams(keywords.data(), values.data(), 0), PQfinish};
    REQUIRE(PQpass(connection.get()) == password);
    REQUIRE(PQport(connection.get()) == "1"sv);
  }
}

TEST_CASE("several hosts become one each, paired as libpq pairs them") {
  ScopedEnvironment const environment;
  auto const addresses = [](std::string const& text) {
    std::vector<std::string> out;
    for (auto const& host : ConnInfo::parse(text).hosts()) {
      out.push_back(host.host_and_port() + (host.is_given("hostaddr") ? "=" + host.value("hostaddr") : ""));
    }
    return out;
  };
  using Addresses = std::vector<std::string>;
  CHECK(addresses("host=a") == Addresses{"a:5432"});
  CHECK(addresses("") == Addresses{"[local]:5432"});
  CHECK(addresses("host=a,b,c") == Addresses{"a:5432", "b:5432", "c:5432"});
  CHECK(addresses("host=a,b port=1") == Addresses{"a:1", "b:1"});
  CHECK(addresses("host=a,b port=1,2") == Addresses{"a:1", "b:2"});
  CHECK(addresses("host=a,b,c port=1,,3") == Addresses{"a:1", "b:5432", "c:3"});
  CHECK(addresses("postgresql://a:1,b,[::1]:3/x") == Addresses{"a:1", "b:5432", "[::1]:3"});
  CHECK(addresses("host=a,b hostaddr=10.0.0.1,10.0.0.2") == Addresses{"a:5432=10.0.0.1", "b:5432=10.0.0.2"});
  CHECK(addresses("hostaddr=10.0.0.1,10.0.0.2") == Addresses{"10.0.0.1:5432=10.0.0.1", "10.0.0.2:5432=10.0.0.2"});
  CHECK(addresses("host=/tmp,b") == Addresses{"/tmp:5432", "b:5432"});
  CHECK_THROWS_MATCHES(addresses("host=a,b port=1,2,3"), rr::ConfigError,
                       Message("2 hosts with 3 ports: one for all or one for each is needed"));
  CHECK_THROWS_MATCHES(addresses("host=a,b hostaddr=10.0.0.1"), rr::ConfigError,
                       Message("1 hosts with 2 names or addresses"));
  CHECK_THROWS_MATCHES(addresses("host=a,,c"), rr::ConfigError, Message("host 2 of 3 is empty"));
}

TEST_CASE("libpq's environment may hold the list of hosts") {
  ScopedEnvironment const environment{{{"PGHOST", "a,b"}, {"PGPORT", "1,"}}};
  auto const hosts = ConnInfo::parse("dbname=shop").hosts();
  REQUIRE(hosts.size() == 2);
  CHECK(hosts[0].address() == "a:1/shop");
  CHECK(hosts[1].address() == "b:5432/shop");
  CHECK(ConnInfo::parse(hosts[1].text()).address() == "b:5432/shop");
}

TEST_CASE("what is shown says where to connect, and nothing else") {
  ScopedEnvironment const environment;
  auto const conninfo = ConnInfo::parse(
      "host=db-1 user=app password=p sslpassword=q options='-c my.key=k' application_name=a dbname=shop");
  CHECK(conninfo.safe_text() ==
        "user=app password=*** dbname=shop host=db-1 options=*** application_name=*** sslpassword=***");
}

TEST_CASE("the key tells whether two strings lead to the same place") {
  ScopedEnvironment const environment{{{"PGPORT", "5432"}, {"PGUSER", "app"}}};
  auto const key = [](char const* text) { return ConnInfo::parse(text).key(); };
  CHECK(key("host=db-1") == key("postgresql://DB-1:5432/app"));
  CHECK(key("host=db-1 user=app password=x sslmode=require") == key("host=db-1 port=05432 dbname=app"));
  CHECK(key("host=db-1 hostaddr=10.0.0.1") == key("hostaddr=10.0.0.1"));
  CHECK(key("host=db-1") != key("host=db-2"));
  CHECK(key("host=db-1") != key("host=db-1 port=5433"));
  CHECK(key("host=db-1") != key("host=db-1 dbname=other"));
  CHECK(key("host=/tmp/A") != key("host=/tmp/a"));
  CHECK(key("service=a") != key("service=b"));
}

TEST_CASE("a server setting comes on top of the user's own options") {
  ScopedEnvironment const environment;
  auto const with = [](std::string const& text) {
    auto conninfo = ConnInfo::parse(text);
    conninfo.add_server_setting("default_transaction_read_only", "on");
    return conninfo.value("options");
  };
  CHECK(with("host=a") == "-c default_transaction_read_only=on");
  CHECK(with("options='-c work_mem=1MB'") == "-c work_mem=1MB -c default_transaction_read_only=on");
  CHECK(with("options='-c a.b=x\\\\\\\\'") == "-c a.b=x\\\\ -c default_transaction_read_only=on");
  CHECK(with("options='-c a.b=x\\\\'") == "-c a.b=x -c default_transaction_read_only=on");
  auto conninfo = ConnInfo::parse("");
  conninfo.add_server_setting("application_name", "two words\\");
  CHECK(conninfo.value("options") == "-c application_name=two\\ words\\\\");
}

TEST_CASE("a server setting keeps the options of the environment") {
  ScopedEnvironment const environment{{{"PGOPTIONS", "-c work_mem=1MB"}}};
  auto conninfo = ConnInfo::parse("host=a");
  conninfo.add_server_setting("default_transaction_read_only", "on");
  CHECK(conninfo.value("options") == "-c work_mem=1MB -c default_transaction_read_only=on");
}
