// Which TCP port may a server of a test listen on, with no other test taking it, even while the server is down?
#pragma once

#include <cstdint>

namespace replica_router::testing {

/// A TCP port of 127.0.0.1 that is this object's until it is destroyed or the process ends.
///
/// A socket is bound to the port but never listens. It was bound without SO_REUSEADDR, so nobody else reserves the
/// port and the kernel hands it out as no ephemeral port; then SO_REUSEADDR was set, so a server that sets it too (as
/// PostgreSQL does) may bind and listen. No file is left behind, and connecting while no server listens is refused.
class ReservedPort {
 public:
  ReservedPort();
  ~ReservedPort();
  ReservedPort(ReservedPort const&) = delete;
  ReservedPort& operator=(ReservedPort const&) = delete;

  [[nodiscard]] std::uint16_t number() const noexcept { return number_; }

 private:
  int socket_ = -1;
  std::uint16_t number_ = 0;
};

}  // namespace replica_router::testing
