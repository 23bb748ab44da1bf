// How are all nodes asked how they are, at once, by one thread? Their probes, waited for together.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "replica_router/postgres/conninfo.hpp"
#include "replica_router/postgres/node_probe.hpp"
#include "replica_router/postgres/pg_connect.hpp"
#include "replica_router/time_point.hpp"
#include "replica_router/topology/node_facts.hpp"
#include "replica_router/topology/probe_event.hpp"

namespace replica_router {

/// Probes any number of nodes from one thread without ever waiting for one of them alone.
///
/// Thread safety: one thread drives it; `wake()` may be called from any.
template <class Address = ConnInfo, class Told = ProbeEvent>
class PqxxProber {
 public:
  PqxxProber() {
    if (pipe(wake_.data()) != 0) {
      throw std::system_error{errno, std::generic_category(), "no pipe for the probing thread"};
    }
    for (int const end : wake_) {
      fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK);
      fcntl(end, F_SETFD, FD_CLOEXEC);
    }
  }
  PqxxProber(PqxxProber const&) = delete;
  PqxxProber& operator=(PqxxProber const&) = delete;
  ~PqxxProber() {
    for (int const end : wake_) {
      close(end);
    }
  }

  /// Puts the health question to a node, connecting first if need be. When no answer has come by `late_at` it says so,
  /// and again each `late_every`, until the answer comes or `forget` is called.
  void ask(NodeId id, Address const& conninfo, TimePoint /*now*/, TimePoint late_at, Duration late_every) {
    if (id >= probes_.size()) {
      probes_.resize(id + 1);
    }
    auto& probe = probes_[id];
    if (!probe || &probe->conninfo() != &conninfo) {
      probe.emplace(id, conninfo, events_);  // never asked, or the number is another node's now
    }
    probe->ask(late_at, late_every);
  }

  /// Drops the node's probe and its connection.
  void forget(NodeId id) {
    if (id < probes_.size()) {
      probes_[id].reset();
    }
  }

  /// Waits until something happened, `until` has passed or `wake()` was called; returns what happened.
  std::vector<Told> wait(TimePoint until) {
    if (events_.empty()) {
      poll_sockets(until);
    }
    auto const now = TimePoint::clock::now();
    for (auto& probe : probes_) {
      if (probe) {
        probe->look_at_clock(now);
      }
    }
    return std::exchange(events_, {});
  }

  /// Makes `wait` return. From any thread.
  void wake() noexcept {
    char const byte = 0;
    // A full pipe wakes just as well.
    [[maybe_unused]] auto const written = write(wake_[1], &byte, 1);
  }

 private:
  using Probe = NodeProbe<Address, Told>;
  using Socket = decltype(std::declval<Probe const&>().socket());

  void poll_sockets(TimePoint until) {
    std::vector<Socket> waited;
    std::vector<Probe*> owners;
    waited.push_back({wake_[0], POLLIN, 0});
    owners.push_back(nullptr);
    for (auto& probe : probes_) {
      if (!probe) {
        continue;
      }
      until = std::min(until, probe->late_at());
      if (probe->has_socket()) {
        waited.push_back(probe->socket());
        owners.push_back(&*probe);
      }
    }
    auto const count =
        poll(waited.data(), static_cast<nfds_t>(waited.size()), poll_timeout(TimePoint::clock::now(), until));
    if (count <= 0) {
      return;
    }
    if (waited[0].revents != 0) {
      std::array<char, 64> drained{};
      while (read(wake_[0], drained.data(), drained.size()) > 0) {
      }
    }
    for (std::size_t i = 1; i < waited.size(); ++i) {
      if (waited[i].revents != 0) {
        owners[i]->advance();
      }
    }
  }

  std::array<int, 2> wake_{};
  std::vector<Told> events_;
  std::vector<std::optional<Probe>> probes_;
};

}  // namespace replica_router
