#include "support/tcp_link.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/reserved_port.hpp"

namespace replica_router::testing {

namespace {

using Clock = std::chrono::steady_clock;

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_{number} {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }
  void reset() {
    if (is_open()) {
      ::close(std::exchange(number_, -1));
    }
  }
  /// Closes with a reset instead of an orderly end.
  void break_off() {
    linger const at_once{1, 0};
    ::setsockopt(number_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    reset();
  }

 private:
  int number_ = -1;
};

[[noreturn]] void fail(char const* what) {
  throw std::system_error{errno, std::generic_category(), fmt::format("a TCP link: {}", what)};
}

Descriptor new_socket() {
  Descriptor made{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!made.is_open()) {
    fail("socket");
  }
  int const yes = 1;
  ::setsockopt(made.number(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  ::setsockopt(made.number(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return made;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// Begins to connect; whether it worked shows when the socket becomes writable.
Descriptor new_connection_to(std::uint16_t port) {
  auto made = new_socket();
  auto const address = loopback(port);
  if (::connect(made.number(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS) {
    made.reset();
  }
  return made;
}

/// What was read at one end and has not been written at the other.
class Direction {
 public:
  [[nodiscard]] bool wants_to_read() const { return !saw_end_ && held_ < limit; }
  [[nodiscard]] bool is_over() const { return has_passed_end_; }
  [[nodiscard]] std::optional<Clock::time_point> due() const {
    if (!chunks_.empty()) {
      return chunks_.front().due;
    }
    return saw_end_ && !has_passed_end_ ? std::optional{Clock::time_point::min()} : std::nullopt;
  }

  /// Returns whether bytes came.
  bool read_from(Descriptor const& socket, Clock::time_point arrives) {
    std::array<char, 65'536> buffer;
    ssize_t const got = ::recv(socket.number(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      chunks_.push_back({arrives, {buffer.data(), static_cast<std::size_t>(got)}});
      held_ += static_cast<std::size_t>(got);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      saw_end_ = true;
    }
    return got > 0;
  }

  /// Returns false when the other end is gone.
  bool write_to(Descriptor const& socket, Clock::time_point now) {
    while (!chunks_.empty() && chunks_.front().due <= now) {
      auto& bytes = chunks_.front().bytes;
      ssize_t const sent = ::send(socket.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        return errno == EAGAIN || errno == EINTR;
      }
      held_ -= static_cast<std::size_t>(sent);
      if (static_cast<std::size_t>(sent) < bytes.size()) {
        bytes.erase(0, static_cast<std::size_t>(sent));
        return true;
      }
      chunks_.pop_front();
    }
    if (chunks_.empty() && saw_end_ && !has_passed_end_) {
      has_passed_end_ = true;
      ::shutdown(socket.number(), SHUT_WR);
    }
    return true;
  }

  void swallow() {
    chunks_.clear();
    held_ = 0;
  }

 private:
  struct Chunk {
    Clock::time_point due;
    std::string bytes;
  };
  // Past it the sender's kernel is left to hold the bytes, as on a real link.
  static constexpr std::size_t limit = 1'000'000;

  std::deque<Chunk> chunks_;
  std::size_t held_ = 0;
  bool saw_end_ = false;
  bool has_passed_end_ = false;
};

struct Connection {
  Descriptor client;
  Descriptor server;
  Direction to_server;
  Direction to_client;
  bool is_connecting = false;
  bool is_swallowed = false;
  bool is_clients_turn = true;

  void break_off() {
    client.break_off();
    server.break_off();
  }
};

}  // namespace

class TcpLink::Forwarder {
 public:
  explicit Forwarder(std::uint16_t target) : target_{target}, wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    if (!wake_.is_open()) {
      fail("eventfd");
    }
    listen_as(LinkMode::forward);
    // The test's own signal handlers must not run in this thread.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread{[this] { run(); }};
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~Forwarder() {
    change([this] { is_ending_ = true; });
    thread_.join();
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_.number(); }
  [[nodiscard]] std::size_t accepted_count() const { return accepted_count_; }
  [[nodiscard]] std::size_t open_count() const { return open_count_; }
  [[nodiscard]] std::size_t round_trip_count() const { return round_trip_count_; }

  void set(LinkMode mode) {
    change([&] { wanted_mode_ = mode; });
  }
  void set_delay(std::chrono::milliseconds delay) {
    change([&] { wanted_delay_ = delay; });
  }

 private:
  template <class Change>
  void change(Change apply) {
    std::unique_lock lock{mutex_};
    apply();
    auto const mine = ++wanted_revision_;
    std::uint64_t const one = 1;
    [[maybe_unused]] auto const written = ::write(wake_.number(), &one, sizeof one);
    is_applied_.wait(lock, [&] { return applied_revision_ >= mine; });
  }

  /// Takes over what was asked for; returns false at the end.
  bool take_over_changes() {
    std::uint64_t count = 0;
    [[maybe_unused]] auto const got = ::read(wake_.number(), &count, sizeof count);
    std::unique_lock lock{mutex_};
    delay_ = wanted_delay_;
    if (wanted_mode_ != mode_) {
      listen_as(wanted_mode_);
      mode_ = wanted_mode_;
      for (auto& connection : connections_) {
        if (mode_ == LinkMode::drop || connection.is_swallowed) {
          connection.break_off();
        }
        connection.is_swallowed = mode_ == LinkMode::blackhole;
      }
      forget_closed();
    }
    applied_revision_ = wanted_revision_;
    bool const goes_on = !is_ending_;
    lock.unlock();
    is_applied_.notify_all();
    return goes_on;
  }

  void listen_as(LinkMode mode) {
    accept_all();
    fillers_.clear();
    listener_.reset();
    if (mode == LinkMode::drop) {
      return;
    }
    listener_ = new_socket();
    auto const address = loopback(port());
    int const backlog = mode == LinkMode::unreachable ? 0 : SOMAXCONN;
    if (::bind(listener_.number(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
        ::listen(listener_.number(), backlog) != 0) {
      fail("listening");
    }
    if (mode == LinkMode::unreachable) {
      // They fill the queue of connections to be accepted; then the kernel ignores who wants to connect.
      fillers_.push_back(new_connection_to(port()));
      fillers_.push_back(new_connection_to(port()));
    }
  }

  void accept_all() {
    if (!listener_.is_open() || mode_ == LinkMode::unreachable) {
      return;
    }
    for (;;) {
      Descriptor client{::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
      if (!client.is_open()) {
        return;
      }
      ++accepted_count_;
      int const yes = 1;
      ::setsockopt(client.number(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      Connection connection;
      connection.client = std::move(client);
      if (mode_ == LinkMode::blackhole || mode_ == LinkMode::mute_newcomers) {
        connection.is_swallowed = true;
      } else {
        connection.server = new_connection_to(target_);
        connection.is_connecting = true;
        if (!connection.server.is_open()) {
          connection.break_off();
          continue;
        }
      }
      connections_.push_back(std::move(connection));
      open_count_ = connections_.size();
    }
  }

  [[nodiscard]] bool passes_to_server() const { return passes_to_client() || mode_ == LinkMode::stall_answers; }
  [[nodiscard]] bool passes_to_client() const {
    return mode_ == LinkMode::forward || mode_ == LinkMode::mute_newcomers;
  }

  void run() {
    std::vector<pollfd> asked;
    do {
      auto const now = Clock::now();
      std::optional<Clock::time_point> next;
      asked.assign(
          {{wake_.number(), POLLIN, 0}, {mode_ == LinkMode::unreachable ? -1 : listener_.number(), POLLIN, 0}});
      for (auto& connection : connections_) {
        short client_events = connection.to_server.wants_to_read() ? POLLIN : 0;
        short server_events = connection.is_connecting ? POLLOUT : connection.to_client.wants_to_read() ? POLLIN : 0;
        if (passes_to_client()) {
          add_writing(connection.to_client, now, client_events, next);
        }
        if (passes_to_server() && !connection.is_connecting) {
          add_writing(connection.to_server, now, server_events, next);
        }
        // Without a wish no entry: poll would report a hang-up again and again.
        asked.push_back({client_events != 0 ? connection.client.number() : -1, client_events, 0});
        asked.push_back({server_events != 0 ? connection.server.number() : -1, server_events, 0});
      }
      int timeout = -1;
      if (next) {
        timeout = static_cast<int>(
            std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(*next - now).count()));
      }
      if (::poll(asked.data(), asked.size(), timeout) < 0) {
        continue;
      }
      auto entry = asked.begin() + 2;
      for (auto& connection : connections_) {
        short const client_events = (entry++)->revents;
        short const server_events = (entry++)->revents;
        serve(connection, client_events, server_events);
      }
      forget_closed();
      accept_all();
    } while (take_over_changes());
  }

  static void add_writing(Direction const& direction, Clock::time_point now, short& events,
                          std::optional<Clock::time_point>& next) {
    if (auto const due = direction.due()) {
      if (*due <= now) {
        events = static_cast<short>(events | POLLOUT);
      } else {
        next = next ? std::min(*next, *due) : *due;
      }
    }
  }

  void serve(Connection& connection, short client_events, short server_events) {
    auto const now = Clock::now();
    if (connection.is_connecting && server_events != 0) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(connection.server.number(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) {
        connection.break_off();
        return;
      }
      connection.is_connecting = false;
      server_events = 0;
    }
    if ((client_events & ~POLLOUT) != 0 && connection.to_server.wants_to_read()) {
      bool const has_spoken = connection.to_server.read_from(connection.client, now + delay_);
      if (has_spoken && std::exchange(connection.is_clients_turn, false)) {
        ++round_trip_count_;
      }
    }
    if ((server_events & ~POLLOUT) != 0 && connection.to_client.wants_to_read()) {
      connection.is_clients_turn = connection.to_client.read_from(connection.server, now + delay_);
    }
    if (connection.is_swallowed) {
      connection.to_server.swallow();
      connection.to_client.swallow();
      return;
    }
    bool const is_whole =
        (!passes_to_server() || connection.is_connecting || connection.to_server.write_to(connection.server, now)) &&
        (!passes_to_client() || connection.to_client.write_to(connection.client, now));
    if (!is_whole || (connection.to_server.is_over() && connection.to_client.is_over())) {
      connection.break_off();
    }
  }

  void forget_closed() {
    connections_.remove_if([](Connection const& connection) { return !connection.client.is_open(); });
    open_count_ = connections_.size();
  }

  ReservedPort port_;
  std::uint16_t target_;
  Descriptor wake_;

  std::mutex mutex_;
  std::condition_variable is_applied_;
  LinkMode wanted_mode_ = LinkMode::forward;
  std::chrono::milliseconds wanted_delay_{0};
  bool is_ending_ = false;
  std::uint64_t wanted_revision_ = 0;
  std::uint64_t applied_revision_ = 0;

  // The thread's own.
  LinkMode mode_ = LinkMode::forward;
  std::chrono::milliseconds delay_{0};
  Descriptor listener_;
  std::vector<Descriptor> fillers_;
  std::list<Connection> connections_;
  std::atomic<std::size_t> accepted_count_ = 0;
  std::atomic<std::size_t> open_count_ = 0;
  std::atomic<std::size_t> round_trip_count_ = 0;

  std::thread thread_;
};

TcpLink::TcpLink(std::uint16_t target) : forwarder_{std::make_unique<Forwarder>(target)} {}

TcpLink::~TcpLink() = default;

std::uint16_t TcpLink::port() const noexcept { return forwarder_->port(); }

std::string TcpLink::conninfo(std::string_view database) const {
  return fmt::format("host=127.0.0.1 port={} dbname={} user=postgres", port(), database);
}

void TcpLink::set(LinkMode mode) { forwarder_->set(mode); }

void TcpLink::set_delay(std::chrono::milliseconds each_way) { forwarder_->set_delay(each_way); }

std::size_t TcpLink::accepted_count() const { return forwarder_->accepted_count(); }

std::size_t TcpLink::open_count() const { return forwarder_->open_count(); }

std::size_t TcpLink::round_trip_count() const { return forwarder_->round_trip_count(); }

}  // namespace replica_router::testing
