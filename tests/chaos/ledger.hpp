// Was any write lost or run twice, and did a read fail? Reckoned afterwards, from the record and from the table.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/worker_process_record.hpp"

namespace replica_router::chaos {

using testing::Operation;
using testing::OperationKind;
using testing::Outcome;

/// Whether the server that took a COMMIT can still be asked what became of it.
enum class Settling { possible, impossible };

/// One trouble, from when it was made until all was normal again. Times are nanoseconds, as in the record.
struct Trouble {
  std::string name;
  std::int64_t began = 0;
  std::int64_t mended = 0;  ///< when the last thing that was broken worked again
  std::int64_t normal = 0;  ///< when the router saw all nodes well, fresh and in their roles
  Settling settling = Settling::possible;
};

/// What happened during all troubles of one name.
struct LedgerLine {
  int times = 0;
  std::uint64_t reads = 0;
  std::uint64_t reads_failed = 0;
  std::int64_t longest_read = 0;
  std::uint64_t own_reads = 0;  ///< of a session that had just written
  std::uint64_t own_reads_failed = 0;
  std::uint64_t writes = 0;
  std::uint64_t writes_acknowledged = 0;
  std::uint64_t writes_in_doubt = 0;
  std::uint64_t writes_lost = 0;         ///< acknowledged, and not in the table
  std::int64_t longest_write_pause = 0;  ///< without any acknowledgement
  std::vector<std::int64_t> until_normal = {};
};

/// All of it, and what must not be.
struct Ledger {
  std::map<std::string, LedgerLine> lines = {};
  std::vector<std::string> violations = {};
};

/// The line of what happened while nothing was wrong.
inline constexpr std::string_view no_trouble = "no trouble";

/// Reckons up a record. A write carries a number of its own; `present` tells how often each is in the table. An
/// operation belongs to the trouble that it overlaps; to the later one of two.
///
/// Wrong is: an acknowledged write that is not there, a write that is there twice, a failed one that is there, an
/// `exactly_once` one left in doubt although it could be settled, a session that missed its own write, a failed read of
/// a session that had written nothing.
/// `troubles`: one after the other, in the order of time.
inline Ledger reckon(std::span<Operation const> operations, std::map<std::uint64_t, int> const& present,
                     std::span<Trouble const> troubles) {
  Ledger out;
  for (auto const& trouble : troubles) {
    auto& line = out.lines[trouble.name];
    ++line.times;
    line.until_normal.push_back(trouble.normal - trouble.mended);
  }
  auto const trouble_of = [&](Operation const& operation) -> Trouble const* {
    auto const later = std::partition_point(troubles.begin(), troubles.end(),
                                            [&](Trouble const& trouble) { return trouble.began <= operation.ended; });
    if (later == troubles.begin()) {
      return nullptr;
    }
    auto const& candidate = *(later - 1);
    return operation.began <= candidate.normal ? &candidate : nullptr;
  };
  std::vector<std::int64_t> acknowledgements;
  for (auto const& operation : operations) {
    auto const* const trouble = trouble_of(operation);
    std::string const name{trouble == nullptr ? no_trouble : std::string_view{trouble->name}};
    auto& line = out.lines[name];
    auto const wrong = [&](std::string const& what) {
      out.violations.push_back(name + ": " + what + (operation.message.empty() ? "" : " (" + operation.message + ")"));
    };
    if (operation.kind == OperationKind::read && operation.id == 0) {
      ++line.reads;
      line.longest_read = std::max(line.longest_read, operation.ended - operation.began);
      if (operation.outcome != Outcome::done) {
        ++line.reads_failed;
        wrong("a read failed");
      }
    } else if (operation.kind == OperationKind::read) {
      ++line.own_reads;
      if (operation.outcome != Outcome::done) {
        ++line.own_reads_failed;
      } else if (operation.versions.at(0) == 0) {
        wrong("a session missed its own write " + std::to_string(operation.id));
      }
    } else if (operation.kind == OperationKind::write) {
      ++line.writes;
      auto const found = present.find(operation.id);
      int const times = found == present.end() ? 0 : found->second;
      if (times > 1) {
        wrong("write " + std::to_string(operation.id) + " is in the table " + std::to_string(times) + " times");
      }
      switch (operation.outcome) {
        case Outcome::done:
          ++line.writes_acknowledged;
          acknowledgements.push_back(operation.ended);
          if (times == 0) {
            ++line.writes_lost;
            wrong("the acknowledged write " + std::to_string(operation.id) +
                  (operation.is_exactly_once ? " (exactly_once)" : "") + " is lost");
          }
          break;
        case Outcome::failed:
          if (times > 0) {
            wrong("write " + std::to_string(operation.id) + " was reported as not done and is in the table");
          }
          break;
        case Outcome::in_doubt:
          ++line.writes_in_doubt;
          if (operation.is_exactly_once && (trouble == nullptr || trouble->settling == Settling::possible)) {
            wrong("the exactly_once write " + std::to_string(operation.id) + " was left in doubt");
          }
          break;
      }
    }
  }
  std::sort(acknowledgements.begin(), acknowledgements.end());
  for (auto const& trouble : troubles) {
    auto& longest = out.lines[trouble.name].longest_write_pause;
    auto last = trouble.began;
    auto at = std::lower_bound(acknowledgements.begin(), acknowledgements.end(), trouble.began);
    for (; at != acknowledgements.end() && *at < trouble.normal; ++at) {
      longest = std::max(longest, *at - last);
      last = *at;
    }
    longest = std::max(longest, (at == acknowledgements.end() ? trouble.normal : *at) - last);
  }
  return out;
}

}  // namespace replica_router::chaos
