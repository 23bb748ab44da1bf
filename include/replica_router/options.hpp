// What can be set? Every knob of the router: one field, with its meaning, unit, default and limits.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replica_router/endpoint.hpp"
#include "replica_router/option_values.hpp"
#include "replica_router/read_options.hpp"

namespace replica_router {

class Observer;

/// Whether commits bring their log position home.
enum class CaptureTokens : std::uint8_t {
  automatic,  ///< when the policy needs it
  always,     ///< so that `token()` is exact under every policy
  off,        ///< `token()` waits for the first primary sample after the commit
};

/// The words for it.
constexpr std::array<Word<CaptureTokens>, 3> words_of(CaptureTokens) {
  return {{{"automatic", CaptureTokens::automatic}, {"always", CaptureTokens::always}, {"off", CaptureTokens::off}}};
}

/// Everything that can be set. Write only what differs: `{.primary = "host=db-1", .replicas = {"host=db-2"}}`.
///
/// Durations are whole milliseconds; where not said otherwise they are at least 1 ms, and never more than a year.
/// Every field but the endpoints and the observer is also an environment variable, see `from_environment`.
struct Options {
  /// Where the primary is expected. A hint: probes tell the roles.
  Endpoint primary{};
  /// Where the replicas are expected. A hint, too. None at all is allowed: the primary then serves every read.
  std::vector<Endpoint> replicas{};

  /// Connections to one node, reads and writes together; opened when first needed. 1 to 262143.
  int max_connections = 10;
  /// Of the primary's connections, how many reads never take. 0 to `max_connections` - 1: one at least is left to
  /// reads, or none could be served while no replica is up. To keep reads off the primary use `OnUnmet::fail`.
  int reserved_for_writes = 2;
  /// Waiting for a pooled connection.
  std::chrono::milliseconds acquire_timeout{5'000};
  /// Opening one connection. Rules over libpq's own `connect_timeout`, which counts whole seconds.
  std::chrono::milliseconds connect_timeout{2'000};
  /// An idle connection is closed after this, with jitter.
  std::chrono::milliseconds idle_timeout{600'000};
  /// A connection is closed at this age, with jitter.
  std::chrono::milliseconds max_lifetime{1'800'000};

  /// Between two probes of a node while contracts or tokens are in use.
  std::chrono::milliseconds probe_interval{250};
  /// Between two probes of a node while nobody asks for anything. At least `probe_interval`.
  std::chrono::milliseconds idle_probe_interval{2'000};
  /// The least pause between two probes of a node, however much proof is wanted. While sessions write and none reads
  /// what it has written, the pause doubles with each probe, up to `probe_interval`.
  std::chrono::milliseconds nudge_interval{20};
  /// A probe unanswered for this long is missed.
  std::chrono::milliseconds probe_timeout{500};
  /// A node is down after so many missed probes in a row. 1 to 1000. A refused connection needs no counting.
  int down_after = 3;
  /// The first pause before a node that is down is tried again; doubles, jittered by half.
  std::chrono::milliseconds backoff{500};
  /// The pause never grows beyond this. At least `backoff`.
  std::chrono::milliseconds max_backoff{30'000};
  /// A replica that comes back takes its full share only after this; 0: at once.
  std::chrono::milliseconds warm_up{5'000};

  /// A replica further behind the latest known primary position serves no read.
  std::chrono::milliseconds max_lag{30'000};
  /// How old the data of a read may be at most, if the read does not say. Default: no limit but `max_lag`.
  std::optional<std::chrono::milliseconds> max_staleness{};
  /// How long a read waits for a replica that meets its contract, if the read does not say. 0: not at all.
  std::chrono::milliseconds wait_up_to{0};
  /// What a read does that no replica can serve by its contract, if the read does not say.
  OnUnmet on_unmet = OnUnmet::primary;
  /// Whether a session's reads may go back in time, if the read does not say.
  MonotonicReads monotonic_reads = MonotonicReads::off;
  /// Where this application runs, for policies that prefer near nodes; empty: not said.
  std::string zone{};
  /// Whether commits bring their log position home.
  CaptureTokens capture_tokens = CaptureTokens::automatic;

  /// Who is told of routes, retries, fallbacks, changes of nodes and failovers. Default: nobody.
  std::shared_ptr<Observer> observer = nullptr;

  /// Reads a libpq connection string or URI that may name several hosts: the first is expected to be the primary, the
  /// others replicas; everything else in it holds for all of them, but `target_session_attrs`: the router finds the
  /// roles itself.
  /// Throws: `ConfigError` when it is empty, when libpq cannot parse it, or when its hosts and ports do not match.
  template <class Made = Options>
  static Made from_conninfo(std::string const& text);

  /// Reads environment variables; what is not set keeps its default.
  ///
  /// `REPLICA_ROUTER_PRIMARY`: one connection string or URI. `REPLICA_ROUTER_REPLICAS`: any number, separated by `;`.
  /// In a URI write a semicolon as `%3B`; in a connection string put it between single quotes, as in
  /// `host=db-2 password='a;b'`. Or `REPLICA_ROUTER_CONNINFO` instead of both: see `from_conninfo`.
  /// Every other field is `REPLICA_ROUTER_` and its name in capitals: `REPLICA_ROUTER_MAX_CONNECTIONS=20`,
  /// `REPLICA_ROUTER_MAX_LAG=10s` (units: ns, us, ms, s, min, h), `REPLICA_ROUTER_ON_UNMET=fail`,
  /// `REPLICA_ROUTER_MAX_STALENESS=none`. Names, weights and zones of nodes can be set on the result.
  ///
  /// Throws: `ConfigError` naming the variable when its text is malformed, or when its name is nearly one of these.
  /// Thread safety: as `getenv`: no thread may change the environment meanwhile.
  template <class Made = Options>
  static Made from_environment();
};

namespace detail {

/// Hands every field but the endpoints and the observer to `visit(name, field, allowed)`: the one table behind
/// checking, the environment and what their messages say.
template <class Visitor>
void for_each_knob(Visitor&& visit) {
  // Source: PostgreSQL postmaster.h, MAX_BACKENDS: no server accepts more.
  visit("max_connections", &Options::max_connections, Range<int>{1, 262143});
  visit("reserved_for_writes", &Options::reserved_for_writes, Range<int>{0, 262142});
  visit("acquire_timeout", &Options::acquire_timeout, positive);
  visit("connect_timeout", &Options::connect_timeout, positive);
  visit("idle_timeout", &Options::idle_timeout, positive);
  visit("max_lifetime", &Options::max_lifetime, positive);
  visit("probe_interval", &Options::probe_interval, positive);
  visit("idle_probe_interval", &Options::idle_probe_interval, positive);
  visit("nudge_interval", &Options::nudge_interval, positive);
  visit("probe_timeout", &Options::probe_timeout, positive);
  visit("down_after", &Options::down_after, Range<int>{1, 1000});
  visit("backoff", &Options::backoff, positive);
  visit("max_backoff", &Options::max_backoff, positive);
  visit("warm_up", &Options::warm_up, zero_or_more);
  visit("max_lag", &Options::max_lag, positive);
  visit("max_staleness", &Options::max_staleness, positive);
  visit("wait_up_to", &Options::wait_up_to, zero_or_more);
  visit("on_unmet", &Options::on_unmet, AnyOfItsKind{});
  visit("monotonic_reads", &Options::monotonic_reads, AnyOfItsKind{});
  visit("zone", &Options::zone, AnyOfItsKind{});
  visit("capture_tokens", &Options::capture_tokens, AnyOfItsKind{});
}

}  // namespace detail
}  // namespace replica_router

// The definitions need the whole struct; whoever includes this header gets them.
#include "replica_router/options_sources.hpp"     // IWYU pragma: export
#include "replica_router/options_validation.hpp"  // IWYU pragma: export
