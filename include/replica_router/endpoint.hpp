// How is a node reached? A libpq connection string or URI, with what the router knows it by.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace replica_router {

/// What may be said of an endpoint besides how to reach it.
struct EndpointTraits {
  std::string name{};        ///< unique among the nodes; default: `host:port`
  std::uint32_t weight = 1;  ///< its share of reads relative to the others, for policies that weigh; 1 to 1000000
  std::string zone{};        ///< where it runs, for policies that prefer near nodes; empty: not said
};

/// How to reach one node. Written as a string, or as `{"host=db-3", {.name = "db-3", .weight = 2, .zone = "eu"}}`.
///
/// The string names exactly one host; several hosts in one string are for `Options::from_conninfo`. What it leaves out
/// libpq fills in as usual: environment (`PGUSER`, …), password file, defaults.
struct Endpoint {
  Endpoint() = default;
  /// An endpoint without traits. Implicit, so that lists of endpoints can be written as lists of strings.
  Endpoint(char const* text) : conninfo{text} {}  // NOLINT(google-explicit-constructor)
  /// An endpoint without traits. Implicit, for the same reason.
  Endpoint(std::string text) : conninfo{std::move(text)} {}  // NOLINT(google-explicit-constructor)
  /// An endpoint with traits.
  Endpoint(std::string text, EndpointTraits traits)
      : conninfo{std::move(text)}, name{std::move(traits.name)}, weight{traits.weight}, zone{std::move(traits.zone)} {}

  std::string conninfo{};    ///< a libpq connection string or URI; may hold a password, so never print it
  std::string name{};        ///< see `EndpointTraits`
  std::uint32_t weight = 1;  ///< see `EndpointTraits`
  std::string zone{};        ///< see `EndpointTraits`
};

}  // namespace replica_router
