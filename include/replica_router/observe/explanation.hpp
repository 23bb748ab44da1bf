// Why this node, and why not that one? One printable line a node.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/topology/eligibility.hpp"
#include "replica_router/topology/node_facts.hpp"

namespace replica_router {

/// A duration for people: `850 us`, `12.3 ms`, `3.2 s`; `unknown` for the largest.
template <class Span = Duration>
std::string readable(std::type_identity_t<Span> duration) {
  if (duration == Span::max()) {
    return "unknown";
  }
  auto const us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  if (us < 1'000) {
    return std::to_string(us) + " us";
  }
  bool const is_long = us >= 999'950;
  auto const tenths = is_long ? (us + 50'000) / 100'000 : (us + 50) / 100;
  return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + (is_long ? " s" : " ms");
}

/// The proven staleness bound at `now`; `Duration::max()` when nothing is proven. `known` is a node's facts or
/// standing.
template <class Known>
constexpr Duration staleness_of(Known const& known, TimePoint now) {
  return known.as_of == never ? Duration::max() : std::max(now - known.as_of, Duration::zero());
}

/// How long a replica will need for so many bytes at its present rate, as `, about 1.2 s at its rate`; empty where no
/// rate is known.
template <class Facts>
std::string catch_up_text(Facts const& facts, std::uint64_t missing) {
  if (facts.replay_rate <= 0) {
    return {};
  }
  auto const seconds = std::min(static_cast<double>(missing) / facts.replay_rate, 86'400.0);
  return ", about " + readable(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds))) +
         " at its rate of replay";
}

/// Why a node may or may not serve a read, with the figures, such as `3.2 s behind, max_lag is 1.0 s`.
template <class Facts>
std::string reason_text(Facts const& facts, Verdict verdict, Freshness const& demand, Duration max_lag, TimePoint now,
                        std::string const& probe_reason) {
  switch (verdict) {
    case Verdict::behind_max_lag:
      return facts.lag == Duration::max()
                 ? "its lag is unknown: it is behind every position of the primary known so far"
                 : readable(facts.lag) + " behind, max_lag is " + readable(max_lag);
    case Verdict::position_not_reached: {
      if (facts.lineage != Lineage::same) {
        return "not proven to follow the primary's timeline " + std::to_string(facts.primary_timeline) +
               " (its own: " + (facts.timeline == 0 ? "unknown" : std::to_string(facts.timeline)) + ")";
      }
      if (demand.position.lsn && demand.position.timeline == facts.primary_timeline) {
        auto const missing = demand.position.lsn.bytes_since(facts.position);
        return "replayed up to " + facts.position.text() + ", the read must see " + demand.position.lsn.text() + ": " +
               std::to_string(missing) + " bytes more" + catch_up_text(facts, missing);
      }
      return "not proven to have the session's last write";
    }
    case Verdict::too_stale: {
      auto const bound = staleness_of(facts, now);
      return bound == Duration::max()
                 ? std::string{"its staleness is unknown"}
                 : "proven at most " + readable(bound) + " stale, the limit is " + readable(now - demand.as_of);
    }
    case Verdict::down:
    case Verdict::foreign:
    case Verdict::unheard_of: return std::string{text_of(verdict)} + (probe_reason.empty() ? "" : ": " + probe_reason);
    default: return std::string{text_of(verdict)};
  }
}

/// One node's part in an explanation.
struct NodeExplanation {
  std::string name;
  Verdict verdict = Verdict::unheard_of;
  std::string reason;  ///< in words, with figures

  /// `replica-2: 3.2 s behind, max_lag is 1.0 s`.
  std::string text() const { return name + ": " + reason; }
};

/// Which node a read would get now, and what is said of each.
struct Explanation {
  std::string chosen;                  ///< the node's name; empty when none would serve
  std::vector<NodeExplanation> nodes;  ///< one for each node

  /// A line for the choice, then one a node.
  std::string text() const {
    std::string out = chosen.empty() ? "no node would serve this read" : chosen + " would serve this read";
    for (auto const& node : nodes) {
      out += '\n' + node.text();
    }
    return out;
  }
};

}  // namespace replica_router
