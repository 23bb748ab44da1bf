// What did each fault cost? One line a fault, printed as a table when the test program ends.
//
// The whole table, of all programs of this directory, after `cmake --build --preset dev`:
//
//     ctest --preset dev -R faults -V | sed -n 's/^[0-9]*: |/|/p' | awk '!seen[$0]++'
#pragma once

#include <fmt/core.h>

#include <catch2/catch_test_case_info.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace replica_router::testing {

/// What the users of a router saw of one fault.
struct FaultRow {
  std::string fault;
  std::size_t reads = 0;         ///< tried
  std::size_t reads_failed = 0;  ///< of them
  std::size_t writes = 0;        ///< tried
  std::size_t acknowledged = 0;  ///< of them
  std::size_t lost = 0;          ///< acknowledged, and not in the surviving primary's table
  /// From the fault until the last call that failed, or took longer than 100 ms, was over; zero when none did.
  std::chrono::milliseconds until_normal{};
};

/// The rows of this program so far.
inline std::vector<FaultRow>& fault_rows() {
  static std::vector<FaultRow> rows;
  return rows;
}

/// Prints them when all tests have run.
class FaultTable : public Catch::EventListenerBase {
 public:
  using Catch::EventListenerBase::EventListenerBase;

  void testRunEnded(Catch::TestRunStats const& /*run*/) override {
    if (fault_rows().empty()) {
      return;
    }
    std::string const rule(fault_width, '-');
    fmt::print("\n| {:<{}} | {:>7} | {:>6} | {:>7} | {:>12} | {:>4} | {:>12} |\n", "fault", fault_width, "reads",
               "failed", "writes", "acknowledged", "lost", "until normal");
    fmt::print("|-{}-|--------:|-------:|--------:|-------------:|-----:|-------------:|\n", rule);
    for (auto const& row : fault_rows()) {
      fmt::print("| {:<{}} | {:>7} | {:>6} | {:>7} | {:>12} | {:>4} | {:>9} ms |\n", row.fault, fault_width, row.reads,
                 row.reads_failed, row.writes, row.acknowledged, row.lost, row.until_normal.count());
    }
    std::fflush(stdout);
  }

 private:
  static constexpr int fault_width = 72;
};

CATCH_REGISTER_LISTENER(FaultTable)

}  // namespace replica_router::testing
