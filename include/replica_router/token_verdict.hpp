// What was made of a token? The answer of `observe()`.
#pragma once

#include <cstdint>
#include <string_view>

namespace replica_router {

/// What `observe()` made of a token. Only `accepted` and `before_failover` change what the session demands.
enum class TokenVerdict : std::uint8_t {
  accepted,            ///< the session now sees everything up to the token's position
  empty,               ///< an empty text, as of a session that has written nothing: nothing to see
  malformed,           ///< not a token; ignored
  of_another_cluster,  ///< another system identifier; ignored
  ahead_of_primary,    ///< further than the primary itself has come: forged, or lost in a crash; ignored
  before_failover,     ///< of an older timeline: the session now sees what the new primary had when this was observed
};

/// The verdict in words.
constexpr std::string_view text_of(TokenVerdict verdict) {
  switch (verdict) {
    case TokenVerdict::accepted: return "accepted";
    case TokenVerdict::empty: return "empty";
    case TokenVerdict::malformed: return "malformed: ignored";
    case TokenVerdict::of_another_cluster: return "of another cluster: ignored";
    case TokenVerdict::ahead_of_primary: return "ahead of the primary: ignored";
    case TokenVerdict::before_failover: return "from before a failover: resolved to the new primary's position";
  }
  return "unknown";
}

}  // namespace replica_router
