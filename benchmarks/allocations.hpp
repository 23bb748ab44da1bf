// How much does this code allocate? Counts what passes through `operator new`; link allocations.cpp to have it counted.
#pragma once

#include <cstddef>

namespace replica_router::benchmarks {

/// Allocations of one thread so far.
struct Allocations {
  std::size_t count = 0;
  std::size_t bytes = 0;  ///< as asked for, without the allocator's own overhead
};

/// The calling thread's.
Allocations allocations_of_this_thread() noexcept;

}  // namespace replica_router::benchmarks
