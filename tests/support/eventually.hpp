// How do tests and the fixture wait for something? By asking again until it holds or the deadline has passed.
#pragma once

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace replica_router::testing {

/// A condition did not come to hold in time; the message says which, how long it was waited for, and what was seen
/// last.
class ConditionNotMet : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Returns as soon as `holds` returns true. An exception of `holds` counts as "not yet" and is told as what was seen.
///
///     eventually("the replica has the row", 5s, [&] { return replica.query(count) == "1"; },
///                [&] { return "count is " + replica.query(count); });
///
/// Throws: ConditionNotMet after the deadline. `holds` is asked at least once, and once more at the deadline.
void eventually(std::string_view condition, std::chrono::milliseconds deadline, std::function<bool()> const& holds,
                std::function<std::string()> const& what_is_seen = {});

}  // namespace replica_router::testing
