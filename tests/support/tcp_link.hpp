// How does a test make the network to one server slow, silent or broken, while the server is well?
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace replica_router::testing {

/// What a TcpLink does with connections and bytes.
enum class LinkMode {
  forward,         ///< All passes.
  stall,           ///< Connections are accepted, no byte passes either way; what is held passes once all passes again.
  stall_answers,   ///< The client's bytes pass, the server's are held.
  blackhole,       ///< Connections are accepted and all they send is swallowed; they die when the mode changes.
  mute_newcomers,  ///< Open connections pass all; new ones are as in a black hole.
  drop,            ///< Open connections are reset, new ones refused.
  unreachable,     ///< Open connections stall, new ones are neither accepted nor refused: connecting hangs.
};

/// A forwarder between a port of its own and another port of 127.0.0.1.
///
/// Where the other port refuses, an accepted connection is reset: a link shows a dead server as one that hangs up.
/// Thread safety: all calls from any thread.
class TcpLink {
 public:
  explicit TcpLink(std::uint16_t target);
  ~TcpLink();
  TcpLink(TcpLink const&) = delete;
  TcpLink& operator=(TcpLink const&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// How libpq connects through the link to a node of a cluster.
  [[nodiscard]] std::string conninfo(std::string_view database = "postgres") const;

  /// In effect on return.
  void set(LinkMode mode);
  /// Bytes read from now on pass that much later, each way; zero ends it.
  void set_delay(std::chrono::milliseconds each_way);

  /// How many connections were accepted so far.
  [[nodiscard]] std::size_t accepted_count() const;
  /// How many of them are open.
  [[nodiscard]] std::size_t open_count() const;
  /// How often a client has begun to speak after its server had spoken, over all connections: round trips begun.
  [[nodiscard]] std::size_t round_trip_count() const;

 private:
  class Forwarder;
  std::unique_ptr<Forwarder> forwarder_;
};

}  // namespace replica_router::testing
