#include "support/reserved_port.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <stdexcept>
#include <system_error>

namespace replica_router::testing {

namespace {

// Below the range that Linux hands out as ephemeral ports, above the ports of well-known servers.
constexpr std::uint16_t lowest = 15'000;
constexpr std::uint16_t highest = 31'999;

}  // namespace

ReservedPort::ReservedPort() {
  std::random_device random;
  std::uniform_int_distribution<unsigned> any_port{lowest, highest};
  for (int tries = 0; tries < 1'000; ++tries) {
    auto const candidate = static_cast<std::uint16_t>(any_port(random));
    int const handle = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (handle < 0) {
      throw std::system_error{errno, std::generic_category(), "reserving a port: socket"};
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(candidate);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int const yes = 1;
    if (::bind(handle, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0 &&
        ::setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0) {
      socket_ = handle;
      number_ = candidate;
      return;
    }
    ::close(handle);
  }
  throw std::runtime_error{"reserving a port: none of 1000 tried on 127.0.0.1 is free"};
}

ReservedPort::~ReservedPort() { ::close(socket_); }

}  // namespace replica_router::testing
