// What does a pool know of one connection, what may one be leased for, and how many are there to be?
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include "replica_router/time_point.hpp"

namespace replica_router {

/// What a lease is for. Reads on the primary leave the connections reserved for writes alone.
enum class Purpose : std::uint8_t { replica_read, primary_read, write };

/// What transactions on a connection may do unless they say more. It is settled when the connection is opened, so that
/// no read ever runs on a connection that could write.
enum class Access : std::uint8_t { read_only, read_write };

/// The kind of connection that serves the purpose.
constexpr Access access_for(Purpose purpose) {
  return purpose == Purpose::write ? Access::read_write : Access::read_only;
}

/// The limits of one node's pool.
struct PoolLimits {
  std::size_t max_connections = 10;                  ///< open at the same time, at most
  std::size_t reserved_for_writes = 0;               ///< of these, how many reads may never take
  Duration idle_timeout = std::chrono::minutes{10};  ///< an idle connection is closed after this, less up to a quarter
  Duration max_lifetime = std::chrono::minutes{30};  ///< a connection is closed at this age, less up to a quarter
};

/// One connection of a pool, with what the pool knows of it.
template <class Connection>
struct alignas(64) PoolSlot {
  std::unique_ptr<Connection> connection;   ///< empty while it is being opened
  TimePoint expires_at = never;             ///< when it has lived long enough
  TimePoint idle_since = never;             ///< when it was first seen idle; `never` until then
  Duration idle_timeout{};                  ///< how long it may be idle
  TimePoint leased_at = never;              ///< when it was given out
  std::uint32_t epoch = 0;                  ///< the node's epoch when it was opened
  std::thread::id holder{};                 ///< the thread that leased it
  Purpose purpose = Purpose::replica_read;  ///< what it was leased for
  Access access = Access::read_only;        ///< what it was opened for
  bool is_leased = true;                    ///< given out, or being opened for somebody
  bool is_warm = false;                     ///< a moment before it was given out it was leased already, see `warmth`
};

/// A connection that was leased this short a time ago is taken at its word: to look at its socket would cost a system
/// call for every lease.
inline constexpr Duration warmth = std::chrono::milliseconds{1};

}  // namespace replica_router
