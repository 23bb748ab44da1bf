// What is this token worth here? Issuing a session's position, and judging one that came from outside.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "replica_router/causality/token.hpp"
#include "replica_router/cluster/cluster.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/token_verdict.hpp"

namespace replica_router {

/// What a token from outside is, and the position it stands for; that of `never` where it is good for nothing.
struct TokenJudgement {
  TokenVerdict verdict = TokenVerdict::empty;
  CausalPosition position{};
};

/// Issues and judges tokens by what is known of the cluster.
///
/// A token taken in is good for two proofs: its position, and the moment at which it was taken in. A replica that has
/// everything the primary had at that moment has the token's write too. So a token that names a position nobody will
/// ever reach holds a session up until the next sample of the primary, and not for ever.
template <class Backend>
class TokenDesk {
 public:
  TokenDesk(Cluster<Backend>& cluster, Backend const& backend) : cluster_{cluster}, backend_{backend} {}

  /// The text for a session's position; empty when it has written nothing.
  /// Throws: `NoPrimaryAvailable` when the position was not captured and no sample of the primary comes in time;
  /// `Error` when the server does not tell what a token is made of.
  std::string issue(CausalPosition const& position) const {
    if (position.at == never) {
      return {};
    }
    auto facts = cluster_.facts();
    auto const text_for = [&](std::uint32_t timeline, Lsn lsn) {
      auto text = Token{facts.system_identifier, timeline, lsn}.text();
      if (text.empty()) {
        throw Error{
            "no token: the cluster's system identifier or timeline is unknown, because the server refuses "
            "pg_control_system() or pg_walfile_name() to this user; grant EXECUTE on them"};
      }
      return text;
    };
    if (position.lsn) {
      return text_for(position.timeline, position.lsn);
    }
    facts = sampled_since(position.at);
    if (facts.position_at < position.at || facts.primary == no_node) {
      throw NoPrimaryAvailable{
          "the position of the session's last write was not captured, and the primary cannot be asked now; set "
          "Options::capture_tokens = CaptureTokens::always, or try again"};
    }
    return text_for(facts.timeline, facts.position);
  }

  /// What a token from outside is, and the position it stands for.
  TokenJudgement judge(std::string_view text) const {
    if (text.empty()) {
      return {TokenVerdict::empty, {}};
    }
    auto const token = Token::parse(text);
    if (!token) {
      return {TokenVerdict::malformed, {}};
    }
    auto const now = backend_.now();
    auto facts = cluster_.facts();
    auto const is_foreign = [&] {
      return facts.system_identifier != 0 && facts.system_identifier != token->system_identifier;
    };
    auto const is_newer = [&] {
      return token->timeline > facts.timeline ||
             (token->timeline == facts.timeline && token->lsn.before_page_header() > facts.position);
    };
    if (!is_foreign() && is_newer()) {
      facts = sampled_since(now);
    }
    if (is_foreign()) {
      return {TokenVerdict::of_another_cluster, {}};
    }
    if (token->timeline < facts.timeline) {
      return {TokenVerdict::before_failover, CausalPosition{Lsn{}, 0, now}};
    }
    // Where the primary cannot be asked nothing speaks against the token.
    if (is_newer() && facts.position_at >= now) {
      return {TokenVerdict::ahead_of_primary, {}};
    }
    return {TokenVerdict::accepted, CausalPosition{token->lsn, token->timeline, now}};
  }

 private:
  /// What is known once the primary has been sampled after `moment`, or once waiting for that took `probe_timeout`.
  ClusterFacts sampled_since(TimePoint moment) const {
    auto const deadline = backend_.now() + cluster_.options().probe_timeout;
    cluster_.demand(backend_.now());
    cluster_.demand_proof(backend_.now());
    cluster_.nudge({Lsn{}, 0, moment});
    for (;;) {
      auto const seen = cluster_.changes();
      auto const facts = cluster_.facts();
      if (facts.position_at >= moment || backend_.now() >= deadline) {
        return facts;
      }
      cluster_.wait_for_change(seen, deadline);
    }
  }

  Cluster<Backend>& cluster_;
  Backend const& backend_;
};

}  // namespace replica_router
