#include "replica_router/options.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "replica_router/postgres/conninfo.hpp"
#include "support/scoped_environment.hpp"

namespace rr = replica_router;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Message;
using Catch::Matchers::MessageMatches;
using rr::ConfigError;
using rr::ConnInfo;
using rr::Options;
using rr::validated;
using rr::testing::ScopedEnvironment;
using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

Options three_nodes() { return {.primary = "host=db-1", .replicas = {"host=db-2", "host=db-3"}}; }

/// The message with which the options are refused; empty when they are not.
std::string refusal_of(Options const& options) {
  try {
    validated(options);
  } catch (ConfigError const& error) {
    return error.what();
  }
  return {};
}

Options from(std::map<std::string, std::string> const& variables) {
  ScopedEnvironment const environment{variables};
  return Options::from_environment();
}

std::string refusal_from(std::map<std::string, std::string> const& variables) {
  try {
    from(variables);
  } catch (ConfigError const& error) {
    return error.what();
  }
  return {};
}

std::vector<std::string> addresses(Options const& options) {
  std::vector<std::string> out{ConnInfo::parse(options.primary.conninfo).address()};
  for (auto const& replica : options.replicas) {
    out.push_back(ConnInfo::parse(replica.conninfo).address());
  }
  return out;
}

std::vector<std::string> names(Options const& options) {
  std::vector<std::string> out{options.primary.name};
  for (auto const& replica : options.replicas) {
    out.push_back(replica.name);
  }
  return out;
}

}  // namespace

TEST_CASE("options are written with what differs, and the defaults are the documented ones") {
  Options const options{
      .primary = "host=db-1",
      .replicas = {"host=db-2", {"host=db-3", {.name = "db-3", .weight = 2, .zone = "eu"}}},
      .max_connections = 20,
      .acquire_timeout = 1s,
      .max_staleness = 2s,
      .on_unmet = rr::OnUnmet::fail,
      .zone = "eu",
  };
  CHECK(options.max_connections == 20);
  CHECK(options.reserved_for_writes == 2);
  CHECK(options.acquire_timeout == 1s);
  CHECK(options.connect_timeout == 2s);
  CHECK(options.idle_timeout == 10min);
  CHECK(options.max_lifetime == 30min);
  CHECK(options.probe_interval == 250ms);
  CHECK(options.idle_probe_interval == 2s);
  CHECK(options.nudge_interval == 20ms);
  CHECK(options.probe_timeout == 500ms);
  CHECK(options.down_after == 3);
  CHECK(options.backoff == 500ms);
  CHECK(options.max_backoff == 30s);
  CHECK(options.warm_up == 5s);
  CHECK(options.max_lag == 30s);
  CHECK(options.max_staleness == 2s);
  CHECK_FALSE(Options{}.max_staleness);
  CHECK(options.wait_up_to == 0s);
  CHECK(Options{}.on_unmet == rr::OnUnmet::primary);
  CHECK(options.monotonic_reads == rr::MonotonicReads::off);
  CHECK(options.capture_tokens == rr::CaptureTokens::automatic);
  CHECK_NOTHROW(validated(options));
}

TEST_CASE("the table of knobs has every field but the endpoints and the observer, once") {
  Options const options{};
  // Does not compile when a field is added or removed: then the table and the number below are to be looked at.
  auto const& [primary, replicas, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, observer] = options;
  CHECK(observer == nullptr);
  std::vector<void const*> const fields{&f1,  &f2,  &f3,  &f4,  &f5,  &f6,  &f7,  &f8,  &f9,  &f10, &f11,
                                        &f12, &f13, &f14, &f15, &f16, &f17, &f18, &f19, &f20, &f21};
  std::vector<void const*> in_table;
  std::set<std::string_view> known;
  rr::detail::for_each_knob([&](std::string_view name, auto field, auto) {
    in_table.push_back(&(options.*field));
    known.insert(name);
  });
  CHECK(in_table == fields);
  CHECK(known.size() == fields.size());
}

TEST_CASE("no primary is refused") {
  CHECK_THAT(refusal_of({}), ContainsSubstring("no primary") && ContainsSubstring("host="));
  CHECK_THAT(refusal_of({.primary = " \t\n", .replicas = {"host=db-2"}}), ContainsSubstring("no primary"));
}

TEST_CASE("no replica at all is allowed, a blank one is not") {
  CHECK(refusal_of({.primary = "host=db-1"}).empty());
  CHECK(refusal_of({.primary = "host=db-1", .replicas = {"host=db-2", " "}}) ==
        "replicas[1] is empty: it must be a libpq connection string or URI");
}

TEST_CASE("every number and duration is refused just outside its range, and accepted at its ends") {
  ScopedEnvironment const environment;
  int knobs = 0;
  rr::detail::for_each_knob([&](std::string_view name, auto field, auto allowed) {
    if constexpr (requires { allowed.least; }) {
      ++knobs;
      using Value = decltype(allowed.least);
      auto const refused = [&](Value value) {
        auto options = three_nodes();
        // So that no other rule speaks first.
        options.max_connections = 262143;
        options.probe_interval = 1ms;
        options.idle_probe_interval = 8760h;
        options.backoff = 1ms;
        options.max_backoff = 8760h;
        options.reserved_for_writes = 0;
        options.*field = value;
        return refusal_of(options);
      };
      CAPTURE(name);
      CHECK(refused(allowed.least).empty());
      CHECK(refused(allowed.most).empty());
      for (auto const value : {allowed.least - Value{1}, allowed.most + Value{1}}) {
        CHECK_THAT(refused(value), ContainsSubstring(std::string{name} + " = ") && ContainsSubstring("allowed is "));
      }
    }
  });
  CHECK(knobs == 17);
}

TEST_CASE("durations beyond what a clock can count are refused, not overflowed") {
  auto options = three_nodes();
  options.max_lag = std::chrono::milliseconds::max();
  CHECK(refusal_of(options) == "max_lag = 9223372036854775807ms: allowed is 1ms to 8760h");
  options.max_lag = std::chrono::milliseconds::min();
  CHECK(refusal_of(options) == "max_lag = -9223372036854775808ms: allowed is 1ms to 8760h");
}

TEST_CASE("enumerators that do not exist are refused") {
  auto options = three_nodes();
  options.on_unmet = static_cast<rr::OnUnmet>(7);
  CHECK(refusal_of(options) == "on_unmet = 7: allowed is primary, fail, serve_stale");
}

TEST_CASE("at least one connection is left to reads") {
  auto options = three_nodes();
  options.max_connections = 2;
  CHECK(refusal_of(options) ==
        "reserved_for_writes = 2: allowed is 0 to max_connections - 1 = 1, so that a read can still fall back to the "
        "primary");
  options.reserved_for_writes = 3;
  CHECK_THAT(refusal_of(options), ContainsSubstring("reserved_for_writes = 3"));
  options.reserved_for_writes = 1;
  CHECK(refusal_of(options).empty());
  CHECK(refusal_of({.primary = "host=db-1", .max_connections = 1, .reserved_for_writes = 0}).empty());
}

TEST_CASE("pairs of limits must be in order") {
  auto options = three_nodes();
  options.probe_interval = 3s;
  CHECK(refusal_of(options) == "idle_probe_interval = 2s: allowed is at least probe_interval = 3s");
  options = three_nodes();
  options.backoff = 1min;
  CHECK(refusal_of(options) == "max_backoff = 30s: allowed is at least backoff = 1min");
}

TEST_CASE("an endpoint's traits are checked") {
  auto options = three_nodes();
  options.replicas[1].weight = 0;
  CHECK(refusal_of(options) == "replicas[1].weight = 0: allowed is 1 to 1000000");
  options.replicas[1].weight = 1'000'001;
  CHECK(refusal_of(options) == "replicas[1].weight = 1000001: allowed is 1 to 1000000");
  options.replicas[1].weight = 1'000'000;
  options.replicas[1].zone = "eu\n";
  CHECK_THAT(refusal_of(options), ContainsSubstring("replicas[1].zone = ") && ContainsSubstring("control characters"));
  options.replicas[1].zone = "eu";
  options.primary.name = "\x1B[31m";
  CHECK_THAT(refusal_of(options), ContainsSubstring("primary.name = ") && !ContainsSubstring("\x1B"));
}

TEST_CASE("the same endpoint twice is refused, however it is written") {
  ScopedEnvironment const environment{{{"PGPORT", "5432"}, {"PGUSER", "app"}}};
  CHECK(
      refusal_of({.primary = "host=db-1 password=Zq7xVw9K", .replicas = {"host=db-2", "postgresql://DB-1:5432/app"}}) ==
      "replicas[1] = DB-1:5432/app is the same endpoint as primary: each node may be named once");
  CHECK_THAT(refusal_of({.primary = "host=db-1", .replicas = {"host=db-2", "host=db-2 user=other dbname=app"}}),
             ContainsSubstring("replicas[1]") && ContainsSubstring("replicas[0]"));
  CHECK(refusal_of({.primary = "host=db-1", .replicas = {"host=db-1 port=5433", "host=db-1 dbname=other"}}).empty());
}

TEST_CASE("the same name twice is refused") {
  CHECK(
      refusal_of({.primary = {"host=db-1", {.name = "a"}}, .replicas = {"host=db-2", {"host=db-3", {.name = "a"}}}}) ==
      "replicas[1].name = a is also the name of primary: names must be unique");
}

TEST_CASE("several hosts in one endpoint are refused, and the way to have them is told") {
  CHECK_THAT(refusal_of({.primary = "host=db-1,db-2 password=Zq7xVw9K"}),
             ContainsSubstring("primary: 2 hosts") && ContainsSubstring("Options::from_conninfo") &&
                 !ContainsSubstring("Zq7"));
}

TEST_CASE("a string that libpq cannot parse is refused with the field and without the password") {
  CHECK_THAT(refusal_of({.primary = "host=db-1", .replicas = {"host=db-2 password=x Zq7xVw9K"}}),
             ContainsSubstring("replicas[0]: ") && ContainsSubstring("missing \"=\"") && !ContainsSubstring("Zq7"));
}

TEST_CASE("nodes without a name are called by where they are, uniquely") {
  ScopedEnvironment const environment{{{"PGUSER", "app"}}};
  using Names = std::vector<std::string>;
  CHECK(names(validated({.primary = "host=db-1", .replicas = {"host=db-2 port=5433", {"host=db-3", {.name = "c"}}}})) ==
        Names{"db-1:5432", "db-2:5433", "c"});
  CHECK(names(validated({.primary = "host=pool dbname=shop", .replicas = {"host=pool dbname=shop_replica"}})) ==
        Names{"pool:5432/shop", "pool:5432/shop_replica"});
  CHECK(names(validated({.primary = "host=db-1", .replicas = {{"host=db-2", {.name = "db-1:5432"}}}})) ==
        Names{"db-1:5432/app", "db-1:5432"});
  CHECK(names(validated({.primary = "host=db hostaddr=10.0.0.1", .replicas = {"host=db hostaddr=10.0.0.2"}})) ==
        Names{"db:5432/app", "db:5432/app#2"});
  CHECK(names(validated({.primary = "service=a", .replicas = {"service=b", "service=a dbname=x"}})) ==
        Names{"service=a", "service=b", "service=a/x"});
}

TEST_CASE("no endpoint keeps a session attribute that would keep the router out") {
  ScopedEnvironment const environment{{{"PGTARGETSESSIONATTRS", "read-write"}}};
  auto const options = validated({.primary = "host=db-1 target_session_attrs=primary", .replicas = {"host=db-2"}});
  CHECK(ConnInfo::parse(options.primary.conninfo).value("target_session_attrs") == "any");
  CHECK(ConnInfo::parse(options.replicas[0].conninfo).value("target_session_attrs") == "any");
}

TEST_CASE("validating twice changes nothing more") {
  auto const once = validated({.primary = "host=db-1 password='a b'", .replicas = {"postgresql://db-2/x"}});
  auto const twice = validated(once);
  CHECK(names(once) == names(twice));
  CHECK(once.primary.conninfo == twice.primary.conninfo);
  CHECK(once.replicas[0].conninfo == twice.replicas[0].conninfo);
}

TEST_CASE("one connection string may name all nodes") {
  ScopedEnvironment const environment;
  using Addresses = std::vector<std::string>;
  auto const options = Options::from_conninfo(
      "host=db-1,db-2,db-3 port=5433 dbname=shop password='it\\'s a; secret' target_session_attrs=read-write");
  CHECK(addresses(options) == Addresses{"db-1:5433/shop", "db-2:5433/shop", "db-3:5433/shop"});
  CHECK(ConnInfo::parse(options.replicas[1].conninfo).value("password") == "it's a; secret");
  CHECK(ConnInfo::parse(options.replicas[1].conninfo).value("target_session_attrs") == "any");
  CHECK(refusal_of(options).empty());
  CHECK(addresses(Options::from_conninfo("postgresql://app:p@db-1:1,db-2:2/shop")) ==
        Addresses{"db-1:1/shop", "db-2:2/shop"});
  CHECK(addresses(Options::from_conninfo("postgresql://app@db-1/shop")) == Addresses{"db-1:5432/shop"});
  CHECK_THROWS_MATCHES(Options::from_conninfo(" "), ConfigError, MessageMatches(ContainsSubstring("is empty")));
  CHECK_THROWS_AS(Options::from_conninfo("host=a,b port=1,2,3"), ConfigError);
  CHECK_THAT(refusal_of(Options::from_conninfo("host=db-1,db-1")), ContainsSubstring("the same endpoint"));
}

TEST_CASE("the environment sets every knob") {
  auto const options = from({{"REPLICA_ROUTER_PRIMARY", "host=db-1 dbname=shop"},
                             {"REPLICA_ROUTER_REPLICAS", "host=db-2 dbname=shop; postgresql://db-3/shop;"},
                             {"REPLICA_ROUTER_MAX_CONNECTIONS", "20"},
                             {"REPLICA_ROUTER_RESERVED_FOR_WRITES", "0"},
                             {"REPLICA_ROUTER_ACQUIRE_TIMEOUT", "1s"},
                             {"REPLICA_ROUTER_CONNECT_TIMEOUT", "1500ms"},
                             {"REPLICA_ROUTER_IDLE_TIMEOUT", "1min"},
                             {"REPLICA_ROUTER_MAX_LIFETIME", "2h"},
                             {"REPLICA_ROUTER_PROBE_INTERVAL", "100ms"},
                             {"REPLICA_ROUTER_IDLE_PROBE_INTERVAL", "5s"},
                             {"REPLICA_ROUTER_NUDGE_INTERVAL", "10000us"},
                             {"REPLICA_ROUTER_PROBE_TIMEOUT", "300ms"},
                             {"REPLICA_ROUTER_DOWN_AFTER", "5"},
                             {"REPLICA_ROUTER_BACKOFF", "1s"},
                             {"REPLICA_ROUTER_MAX_BACKOFF", "1min"},
                             {"REPLICA_ROUTER_WARM_UP", "0s"},
                             {"REPLICA_ROUTER_MAX_LAG", "10s"},
                             {"REPLICA_ROUTER_MAX_STALENESS", "5s"},
                             {"REPLICA_ROUTER_WAIT_UP_TO", "50ms"},
                             {"REPLICA_ROUTER_ON_UNMET", "serve_stale"},
                             {"REPLICA_ROUTER_MONOTONIC_READS", "on"},
                             {"REPLICA_ROUTER_ZONE", "eu west"},
                             {"REPLICA_ROUTER_CAPTURE_TOKENS", "always"}});
  CHECK(addresses(options) == std::vector<std::string>{"db-1:5432/shop", "db-2:5432/shop", "db-3:5432/shop"});
  CHECK(options.max_connections == 20);
  CHECK(options.reserved_for_writes == 0);
  CHECK(options.acquire_timeout == 1s);
  CHECK(options.connect_timeout == 1500ms);
  CHECK(options.idle_timeout == 1min);
  CHECK(options.max_lifetime == 2h);
  CHECK(options.probe_interval == 100ms);
  CHECK(options.idle_probe_interval == 5s);
  CHECK(options.nudge_interval == 10ms);
  CHECK(options.probe_timeout == 300ms);
  CHECK(options.down_after == 5);
  CHECK(options.backoff == 1s);
  CHECK(options.max_backoff == 1min);
  CHECK(options.warm_up == 0s);
  CHECK(options.max_lag == 10s);
  CHECK(options.max_staleness == 5s);
  CHECK(options.wait_up_to == 50ms);
  CHECK(options.on_unmet == rr::OnUnmet::serve_stale);
  CHECK(options.monotonic_reads == rr::MonotonicReads::on);
  CHECK(options.zone == "eu west");
  CHECK(options.capture_tokens == rr::CaptureTokens::always);
  CHECK(refusal_of(options).empty());
}

TEST_CASE("what the environment does not set keeps its default") {
  auto const options = from({});
  auto const plain = Options{};
  rr::detail::for_each_knob([&](std::string_view name, auto field, auto) {
    CAPTURE(name);
    CHECK(options.*field == plain.*field);
  });
  CHECK(options.primary.conninfo.empty());
  CHECK(options.replicas.empty());
  CHECK_FALSE(from({{"REPLICA_ROUTER_MAX_STALENESS", "none"}}).max_staleness);
}

TEST_CASE("a default's text sets the default") {
  rr::detail::for_each_knob([](std::string_view name, auto field, auto allowed) {
    CAPTURE(name);
    auto const value = Options{}.*field;
    auto const text = rr::detail::text_of(value);
    auto again = value;
    CHECK(rr::detail::read_value(text, again));
    CHECK(again == value);
    CHECK(rr::detail::is_allowed(value, allowed));
  });
}

TEST_CASE("a malformed variable is refused by its name, text and what is allowed") {
  auto const refused = [](std::string const& name, std::string const& text) {
    auto const message = refusal_from({{name, text}});
    return message.starts_with(name + " = \"" + text + "\": allowed is ") ? message.substr(message.rfind("is ") + 3)
                                                                          : "something else: " + message;
  };
  for (auto const* const text : {"", "x", "0", "-1", "1.5", "10 ", " 10", "0x10", "262144", "99999999999999999999"}) {
    CHECK(refused("REPLICA_ROUTER_MAX_CONNECTIONS", text) == "1 to 262143");
  }
  for (auto const* const text : {"", "10", "0s", "-1s", "1.5s", "500us", "1500us", "1 s", "1year", "9000h", "none"}) {
    CHECK(refused("REPLICA_ROUTER_MAX_LAG", text) == "1ms to 8760h");
  }
  CHECK(refused("REPLICA_ROUTER_WAIT_UP_TO", "-1ms") == "0s to 8760h");
  CHECK(refused("REPLICA_ROUTER_MAX_STALENESS", "never") == "1ms to 8760h, or none");
  CHECK(refused("REPLICA_ROUTER_ON_UNMET", "Primary") == "primary, fail, serve_stale");
  CHECK(refused("REPLICA_ROUTER_MONOTONIC_READS", "true") == "off, on");
  CHECK(refused("REPLICA_ROUTER_CAPTURE_TOKENS", "") == "automatic, always, off");
}

TEST_CASE("connection strings of the environment are refused by their variable, without the password") {
  CHECK_THAT(refusal_from({{"REPLICA_ROUTER_PRIMARY", "host=db-1 password=x Zq7xVw9K"}}),
             ContainsSubstring("REPLICA_ROUTER_PRIMARY: ") && !ContainsSubstring("Zq7"));
  CHECK_THAT(refusal_from({{"REPLICA_ROUTER_REPLICAS", "host=db-2;password='Zq7xVw9K"}}),
             ContainsSubstring("REPLICA_ROUTER_REPLICAS, item 2: ") && !ContainsSubstring("Zq7"));
  CHECK_THAT(refusal_from({{"REPLICA_ROUTER_CONNINFO", "postgresql://u:Zq7xVw9K%@db-1/shop"}}),
             ContainsSubstring("REPLICA_ROUTER_CONNINFO: ") && !ContainsSubstring("Zq7"));
}

TEST_CASE("one variable may name all nodes, but not beside the others") {
  CHECK(addresses(from({{"REPLICA_ROUTER_CONNINFO", "postgresql://db-1,db-2/shop"}})) ==
        std::vector<std::string>{"db-1:5432/shop", "db-2:5432/shop"});
  for (auto const* const other : {"REPLICA_ROUTER_PRIMARY", "REPLICA_ROUTER_REPLICAS"}) {
    CHECK_THAT(refusal_from({{"REPLICA_ROUTER_CONNINFO", "host=db-1"}, {other, "host=db-2"}}),
               ContainsSubstring("REPLICA_ROUTER_CONNINFO") && ContainsSubstring(other));
  }
}

TEST_CASE("a variable nearly named as ours is a typo, another one is somebody else's") {
  CHECK(refusal_from({{"REPLICA_ROUTER_MAX_CONECTIONS", "20"}}) ==
        "REPLICA_ROUTER_MAX_CONECTIONS is not a variable of ours: was REPLICA_ROUTER_MAX_CONNECTIONS meant?");
  CHECK_THAT(refusal_from({{"REPLICA_ROUTER_REPLICA", "host=db-2"}}), ContainsSubstring("REPLICA_ROUTER_REPLICAS"));
  CHECK_THAT(refusal_from({{"REPLICA_ROUTER_MAXLAG", "1s"}}), ContainsSubstring("REPLICA_ROUTER_MAX_LAG"));
  for (auto const* const other : {"REPLICA_ROUTER_POLICY", "REPLICA_ROUTER_PREFIX", "REPLICA_ROUTER_SERVICE_HOST",
                                  "REPLICA_ROUTER_PORT", "REPLICA_ROUTER_"}) {
    CHECK(refusal_from({{other, "x"}}).empty());
  }
}

TEST_CASE("a list of endpoints ends each at its semicolon, not at one within a value") {
  using rr::detail::endpoints_of;
  using Items = std::vector<std::string>;
  CHECK(endpoints_of("").empty());
  CHECK(endpoints_of(" ; ;; ").empty());
  CHECK(endpoints_of("host=a") == Items{"host=a"});
  CHECK(endpoints_of("host=a;host=b") == Items{"host=a", "host=b"});
  CHECK(endpoints_of(" host=a ;\n host=b;") == Items{"host=a ", "host=b"});
  CHECK(endpoints_of("host=a password='x;y';host=b") == Items{"host=a password='x;y'", "host=b"});
  CHECK(endpoints_of("password = 'x\\';y' host=a;host=b") == Items{"password = 'x\\';y' host=a", "host=b"});
  CHECK(endpoints_of("password=x\\;y host=a;host=b") == Items{"password=x\\;y host=a", "host=b"});
  CHECK(endpoints_of("password=it's host=a;host=b") == Items{"password=it's host=a", "host=b"});
  CHECK(endpoints_of("postgresql://u:it's@a/x;postgres://b/y") == Items{"postgresql://u:it's@a/x", "postgres://b/y"});
  CHECK(endpoints_of("postgresql://u:x%3By@a/x;host=b") == Items{"postgresql://u:x%3By@a/x", "host=b"});
}

TEST_CASE("a list of whatever endpoints splits into just these") {
  ScopedEnvironment const environment;
  std::mt19937_64 random{1};
  constexpr auto alphabet = "aB0 ;'\\=\",@\n"sv;
  for (int i = 0; i < 5'000; ++i) {
    std::vector<std::string> wanted;
    std::string list;
    auto const count = 1 + random() % 3;
    for (std::uint64_t n = 0; n < count; ++n) {
      auto conninfo = ConnInfo::parse("host=db-1");
      std::string password;
      for (auto length = random() % 10; length > 0; --length) {
        password += alphabet[random() % alphabet.size()];
      }
      conninfo.set("password", password);
      wanted.push_back(conninfo.text());
      list += (n == 0 ? "" : ";") + conninfo.text();
    }
    REQUIRE(rr::detail::endpoints_of(list) == wanted);
  }
}
