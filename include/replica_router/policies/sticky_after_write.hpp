// Has it seen my own write? Demands a session's last commit of every read that follows it.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/duration_text.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/policies/description.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/policies/moment_before.hpp"
#include "replica_router/routing_policy.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router {

/// A read that follows a write in its session sees that write or later; `Inner` chooses among those that have it.
///
/// For `window` after a commit reads go to the primary. That is a minimum, not a release: once it has passed, a replica
/// still has to be proven to have the commit, however long that takes.
template <RoutingPolicy Inner = LeastLag>
class StickyAfterWrite {
 public:
  StickyAfterWrite()
    requires std::default_initializable<Inner>
  = default;
  /// Throws: ConfigError when `window` is negative.
  explicit StickyAfterWrite(Inner inner, Duration window = Duration::zero())
      : inner_{std::move(inner)}, window_{window} {
    if (window < Duration::zero()) {
      throw ConfigError("sticky: window=" + duration_text(window) + " must be zero or longer");
    }
  }

  /// The inner policy's choice.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) {
    return inner_.choose(request, eligible);
  }

  /// The session's last commit, and what the inner policy demands.
  Freshness contract(ReadRequest const& request) {
    auto const& commit = request.last_commit;
    if (commit.at == never) {
      return contract_of(inner_, request);
    }
    bool const is_pinned = window_ > Duration::zero() && commit.at > moment_before(request.now, window_);
    return joined(Freshness{.position = commit, .placement = is_pinned ? Placement::primary_only : Placement::anywhere},
                  contract_of(inner_, request));
  }

  /// The policy's text form.
  std::string text() const {
    auto const window = window_ == Duration::zero() ? std::string{} : ", window=" + duration_text(window_);
    return "sticky(" + text_of(inner_) + window + ")";
  }

 private:
  Inner inner_{};
  Duration window_{};
};

template <class Inner>
StickyAfterWrite(Inner) -> StickyAfterWrite<Inner>;
template <class Inner>
StickyAfterWrite(Inner, Duration) -> StickyAfterWrite<Inner>;

}  // namespace replica_router
