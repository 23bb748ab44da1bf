#include "allocations.hpp"

#include <cstdlib>
#include <new>

namespace replica_router::benchmarks {

namespace {
thread_local Allocations counted;

void* allocate(std::size_t size, std::size_t alignment) {
  ++counted.count;
  counted.bytes += size;
  void* const got = alignment == 0 ? std::malloc(size)
                                   : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (got == nullptr) {
    throw std::bad_alloc{};
  }
  return got;
}
}  // namespace

Allocations allocations_of_this_thread() noexcept { return counted; }

}  // namespace replica_router::benchmarks

// The array and nothrow forms of the standard library end in these.
void* operator new(std::size_t size) { return replica_router::benchmarks::allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return replica_router::benchmarks::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
