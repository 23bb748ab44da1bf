// Did every read see what it was promised? Judged afterwards, from the record alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "support/worker_process_record.hpp"

namespace replica_router::consistency {

using testing::Operation;
using testing::OperationKind;
using testing::Outcome;

/// What is promised.
enum class Guarantee : std::size_t {
  read_your_writes,  ///< a session sees its own acknowledged writes
  token,             ///< a session, or a read, sees what the session that issued its token had to see
  monotonic,         ///< a read that asked for it is not older than an earlier such read of its session
  lease_bound,       ///< a lease's data is no older than the bound it told
  max_staleness,     ///< a read's data is no older than it asked for
  durability,        ///< an acknowledged write is never undone
};
inline constexpr std::size_t guarantee_count = 6;

constexpr std::string_view text_of(Guarantee guarantee) {
  switch (guarantee) {
    case Guarantee::read_your_writes: return "read your writes";
    case Guarantee::token: return "token";
    case Guarantee::monotonic: return "monotonic reads";
    case Guarantee::lease_bound: return "staleness bound of the lease";
    case Guarantee::max_staleness: return "max_staleness asked for";
    case Guarantee::durability: return "acknowledged writes kept";
  }
  return "unknown";
}

/// One check that failed.
struct Violation {
  Guarantee guarantee;
  Operation operation;  ///< the read; for durability the write
  int key = 0;
  std::uint32_t required = 0;  ///< the lowest version that keeps the promise
  std::uint32_t seen = 0;
};

/// What the judge found. Violations are all counted; the first few of each kind are kept.
struct Judgement {
  std::array<std::uint64_t, guarantee_count> checks{};
  std::array<std::uint64_t, guarantee_count> violations{};
  std::vector<Violation> examples{};

  [[nodiscard]] std::uint64_t all_checks() const { return sum(checks); }
  [[nodiscard]] std::uint64_t all_violations() const { return sum(violations); }

 private:
  static std::uint64_t sum(std::array<std::uint64_t, guarantee_count> const& counts) {
    std::uint64_t out = 0;
    for (auto const count : counts) {
      out += count;
    }
    return out;
  }
};

/// Judges a record. One key of one read held against one floor above zero is one check.
///
/// A write adds one to its key's version while it holds the row, so a key's versions are in the order of its commits,
/// and whoever sees version n has seen all up to n. Only acknowledged writes are required; a failed write or one in
/// doubt is neither required nor forbidden. What is required of a read is what had been acknowledged before the read
/// was asked for, so each floor is no higher than what was promised.
class Judge {
 public:
  explicit Judge(std::size_t examples_of_each = 3) : examples_of_each_{examples_of_each} {}

  /// `final_versions`: each key's on the primary when all was over.
  Judgement judge(std::span<Operation const> operations, std::span<std::uint32_t const> final_versions) {
    struct Event {
      std::int64_t at;
      bool is_end;  // after the beginnings of the same moment: then nothing is required that is not certain
      std::size_t operation;
    };
    std::vector<Event> events;
    events.reserve(operations.size() * 2);
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (operations[i].outcome == Outcome::done) {
        events.push_back({operations[i].began, false, i});
        events.push_back({operations[i].ended, true, i});
      }
    }
    std::sort(events.begin(), events.end(), [](Event const& a, Event const& b) {
      return std::pair{a.at, a.is_end} < std::pair{b.at, b.is_end};
    });
    for (auto const& event : events) {
      event.is_end ? end(operations[event.operation]) : begin(operations[event.operation]);
    }
    for (auto const& [key, writes] : acknowledged_) {
      auto const index = static_cast<std::size_t>(key);
      check(Guarantee::durability, *writes.back().write, key, writes.back().version,
            index < final_versions.size() ? final_versions[index] : 0);
    }
    return std::move(out_);
  }

 private:
  /// The lowest version of each key that must be seen.
  using Floors = std::map<int, std::uint32_t>;

  static void raise(Floors& floors, int key, std::uint32_t version) {
    auto& floor = floors[key];
    floor = std::max(floor, version);
  }
  static void raise(Floors& floors, Floors const& others) {
    for (auto const& [key, version] : others) {
      raise(floors, key, version);
    }
  }
  static std::uint32_t floor_of(Floors const& floors, int key) {
    auto const found = floors.find(key);
    return found == floors.end() ? 0 : found->second;
  }

  struct Session {
    Floors own_writes;
    Floors tokens;
    Floors read;
  };

  /// The highest version of a key that had been acknowledged by a moment.
  struct Acknowledged {
    std::int64_t at;
    std::uint32_t version;
    Operation const* write;
  };

  void begin(Operation const& operation) {
    if (operation.kind == OperationKind::token_issued) {
      auto const& session = sessions_[operation.session];
      auto& token = tokens_[operation.id];
      token = session.own_writes;
      raise(token, session.tokens);
    } else if (operation.kind == OperationKind::read) {
      check_read(operation);
    }
  }

  void end(Operation const& operation) {
    switch (operation.kind) {
      case OperationKind::token_issued: break;
      case OperationKind::token_observed: raise(sessions_[operation.session].tokens, tokens_[operation.id]); break;
      case OperationKind::write: {
        auto const version = operation.versions.at(0);
        raise(sessions_[operation.session].own_writes, operation.key, version);
        auto& writes = acknowledged_[operation.key];
        if (!taken_[operation.key].insert(version).second) {
          // Two writes were told the same version: the first was undone in between.
          violate(Guarantee::durability, operation, operation.key, version + 1, version);
        }
        if (writes.empty() || version > writes.back().version) {
          writes.push_back({operation.ended, version, &operation});
        }
        break;
      }
      case OperationKind::read:
        if (operation.is_monotonic) {
          auto& session = sessions_[operation.session];
          for (std::size_t i = 0; i < operation.versions.size(); ++i) {
            raise(session.read, operation.key + static_cast<int>(i), operation.versions[i]);
          }
        }
        break;
    }
  }

  void check_read(Operation const& read) {
    auto const& session = sessions_[read.session];
    auto const* const token = read.id == 0 ? nullptr : &tokens_[read.id];
    for (std::size_t i = 0; i < read.versions.size(); ++i) {
      int const key = read.key + static_cast<int>(i);
      auto const seen = read.versions[i];
      if (read.bound >= 0) {
        check(Guarantee::lease_bound, read, key, acknowledged_before(key, read.began - read.bound), seen);
      }
      if (read.may_be_stale) {
        continue;  // it asked for the bound to be told, and for nothing else
      }
      check(Guarantee::read_your_writes, read, key, floor_of(session.own_writes, key), seen);
      check(Guarantee::token, read, key,
            std::max(floor_of(session.tokens, key), token == nullptr ? 0 : floor_of(*token, key)), seen);
      if (read.is_monotonic) {
        check(Guarantee::monotonic, read, key, floor_of(session.read, key), seen);
      }
      if (read.max_staleness >= 0) {
        check(Guarantee::max_staleness, read, key, acknowledged_before(key, read.began - read.max_staleness), seen);
      }
    }
  }

  std::uint32_t acknowledged_before(int key, std::int64_t moment) const {
    auto const found = acknowledged_.find(key);
    if (found == acknowledged_.end()) {
      return 0;
    }
    auto const& writes = found->second;
    auto const after = std::partition_point(writes.begin(), writes.end(),
                                            [&](Acknowledged const& write) { return write.at < moment; });
    return after == writes.begin() ? 0 : std::prev(after)->version;
  }

  void check(Guarantee guarantee, Operation const& operation, int key, std::uint32_t required, std::uint32_t seen) {
    if (required == 0) {
      return;
    }
    ++out_.checks[static_cast<std::size_t>(guarantee)];
    if (seen < required) {
      violate(guarantee, operation, key, required, seen);
    }
  }

  void violate(Guarantee guarantee, Operation const& operation, int key, std::uint32_t required, std::uint32_t seen) {
    if (++out_.violations[static_cast<std::size_t>(guarantee)] <= examples_of_each_) {
      out_.examples.push_back({guarantee, operation, key, required, seen});
    }
  }

  std::size_t examples_of_each_;
  Judgement out_;
  std::unordered_map<std::uint64_t, Session> sessions_;
  std::unordered_map<std::uint64_t, Floors> tokens_;
  std::map<int, std::vector<Acknowledged>> acknowledged_;
  std::map<int, std::set<std::uint32_t>> taken_;
};

}  // namespace replica_router::consistency
