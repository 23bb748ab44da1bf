#include "support/eventually.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <exception>

namespace replica_router::testing {

void eventually(std::string_view condition, std::chrono::milliseconds deadline, std::function<bool()> const& holds,
                std::function<std::string()> const& what_is_seen) {
  using namespace std::chrono_literals;
  using Clock = std::chrono::steady_clock;

  auto const start = Clock::now();
  auto const end = start + deadline;
  std::chrono::milliseconds pause = 1ms;
  std::string failure;
  for (;;) {
    bool const is_last_try = Clock::now() >= end;
    try {
      failure.clear();
      if (holds()) {
        return;
      }
    } catch (std::exception const& error) {
      failure = error.what();
    }
    if (is_last_try) {
      break;
    }
    // Asking seldom after a while leaves the processor to the servers that are being waited for.
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    ::poll(nullptr, 0, static_cast<int>(std::clamp<std::chrono::milliseconds>(left, 0ms, pause).count()));
    pause = std::min<std::chrono::milliseconds>(pause * 2, 16ms);
  }

  std::string seen = failure;
  if (seen.empty() && what_is_seen) {
    try {
      seen = what_is_seen();
    } catch (std::exception const& error) {
      seen = error.what();
    }
  }
  throw ConditionNotMet{
      fmt::format("not within {} ms: {}{}{}", deadline.count(), condition, seen.empty() ? "" : "; last seen: ", seen)};
}

}  // namespace replica_router::testing
