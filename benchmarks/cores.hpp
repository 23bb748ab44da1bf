// On which core does what run? Where placement by chance would decide a comparison of single round trips.
#pragma once

#include <sched.h>
#include <unistd.h>

namespace replica_router::benchmarks {

/// From now on this thread, and every process and thread that it starts, runs on the last core that it may use.
///
/// For comparing single round trips client and servers share a core: no core has to be woken then, which on a virtual
/// machine takes longer than the whole query and varies the most. It is also the strictest: nothing that the client
/// does is hidden behind the server's work. Where it is forbidden nothing changes.
inline void stay_on_one_core() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    return;
  }
  for (int cpu = CPU_SETSIZE; cpu-- > 0;) {
    if (CPU_ISSET(cpu, &allowed)) {
      CPU_ZERO(&allowed);
      CPU_SET(cpu, &allowed);
      sched_setaffinity(0, sizeof allowed, &allowed);
      return;
    }
  }
}

}  // namespace replica_router::benchmarks
