// What does a session cost? A million of them: bytes each, and the time to make one.
#include <chrono>
#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "memory_backend.hpp"
#include "report.hpp"
#include "rounds.hpp"

namespace {

using namespace replica_router;
using namespace replica_router::benchmarks;

constexpr std::size_t count = 1'000'000;

/// The memory that the process has of the machine's, in bytes.
double resident() {
  std::ifstream file{"/proc/self/statm"};
  double all = 0;
  double resident_pages = 0;
  file >> all >> resident_pages;
  return resident_pages * 4096;
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmark("sessions", argc, argv, [](Report& report) {
    Options options;
    options.primary = {"host=primary", {.name = "primary"}};
    options.replicas = {{"host=replica-1", {.name = "replica-1"}}, {"host=replica-2", {.name = "replica-2"}}};
    using Router = ReplicaRouter<StickyAfterWrite<LeastLag>, MemoryBackend>;
    Router db{options, StickyAfterWrite<LeastLag>{}, MemoryBackend{}};

    std::vector<Router> sessions;
    sessions.reserve(count);
    auto const resident_before = resident();
    auto const before = allocations_of_this_thread();
    auto const begin = Clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      sessions.push_back(db.session());
    }
    auto const made = Clock::now();
    auto const after = allocations_of_this_thread();
    auto const resident_after = resident();
    for (auto& session : sessions) {
      static_cast<void>(session.read());
    }
    auto const read = Clock::now();
    sessions.clear();
    auto const ended = Clock::now();

    auto const each = [](double sum) { return sum / static_cast<double>(count); };
    auto const heap = each(static_cast<double>(after.bytes - before.bytes));
    auto& table =
        report.table("1,000,000 sessions of one router, all alive at once", {"of one session", "figure", "goal"});
    table.add({words("bytes of its own, heap and object"), number(heap + sizeof(Router)),
               goal("≤ 400", heap + sizeof(Router) <= 400)});
    table.add({words("  of these from operator new"), number(heap), no_goal()});
    table.add({words("allocations"), number(each(static_cast<double>(after.count - before.count)), 1), no_goal()});
    table.add(
        {words("growth of the process's memory, bytes"), number(each(resident_after - resident_before)), no_goal()});
    table.add({words("time to make one"), number(each(nanoseconds_of(made - begin)), 0, "ns"), no_goal()});
    table.add({words("time of its first read, without a server"), number(each(nanoseconds_of(read - made)), 0, "ns"),
               no_goal()});
    table.add({words("time to end it"), number(each(nanoseconds_of(ended - read)), 0, "ns"), no_goal()});
    report.note(
        "The goal is the design's \"a few hundred bytes at most\". A session holds no connection and no thread.");
  });
}
