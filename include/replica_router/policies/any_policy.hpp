// Which policy, when only the configuration knows? Any policy behind one type, also built from text.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "replica_router/causality/freshness.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/policies/description.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/policies/policy_forms.hpp"
#include "replica_router/policies/sticky_after_write.hpp"
#include "replica_router/routing_policy.hpp"

namespace replica_router {

/// A policy of any kind, chosen when the program runs.
///
/// The text forms, which `parse` reads and `text` prints; `<policy>` is again one of them:
///
///     round-robin
///     random
///     least-in-flight
///     least-lag                  least-lag(tolerance=200ms)
///     lowest-latency             lowest-latency(window=15ms)
///     prefer-zone(<policy>)
///     sticky(<policy>)           sticky(<policy>, window=2s)
///     within-staleness(<policy>, bound=1s)
///
/// Durations are a whole number with one of the `duration_units`. Spaces between words and marks do not matter.
/// Thread safety: as the policy inside, so any thread for all of the library's.
template <class Default>
class BasicAnyPolicy {
 public:
  /// The router's default policy, `sticky(least-lag)`.
  BasicAnyPolicy() : BasicAnyPolicy(Default{}) {}

  /// Holds `policy`.
  template <class Policy>
    requires(!std::same_as<Policy, BasicAnyPolicy> && RoutingPolicy<Policy>)
  explicit BasicAnyPolicy(Policy policy) : held_{std::make_unique<Held<Policy>>(std::move(policy))} {}

  /// The policy that `text` describes.
  /// Throws: ConfigError that quotes the text, marks what is wrong, and says what is allowed.
  static BasicAnyPolicy parse(std::string_view text) { return detail::PolicyMaker<BasicAnyPolicy>{text}.make(); }

  /// The policy that an environment variable describes; the default one when it is unset or empty.
  /// Throws: ConfigError as `parse` does, naming the variable.
  /// Thread safety: as `std::getenv`, so not while another thread changes the environment.
  static BasicAnyPolicy from_environment(char const* variable = "REPLICA_ROUTER_POLICY") {
    auto const* const text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): told to the caller above
    if (text == nullptr || *text == '\0') {
      return {};
    }
    try {
      return parse(text);
    } catch (ConfigError const& error) {
      throw ConfigError(std::string(variable) + ": " + error.what());
    }
  }

  /// The choice of the policy inside.
  /// Throws: UsageError when this was moved from.
  std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) {
    return held().choose(request, eligible);
  }

  /// The demand of the policy inside; nothing demanded when it declares no contract.
  /// Throws: UsageError when this was moved from.
  Freshness contract(ReadRequest const& request) { return held().contract(request); }

  /// Whether the policy inside declares a contract.
  /// Throws: UsageError when this was moved from.
  bool demands_freshness() const { return held().demands_freshness(); }

  /// The policy's text form, which `parse` reads back to an equal policy unless a policy of a user's own is in it.
  /// Throws: UsageError when this was moved from.
  std::string text() const { return held().text(); }

 private:
  struct Base {
    Base() = default;
    Base(Base const&) = delete;
    Base& operator=(Base const&) = delete;
    virtual ~Base() = default;
    virtual std::optional<std::size_t> choose(ReadRequest const&, std::span<ReplicaView const>) = 0;
    virtual Freshness contract(ReadRequest const&) = 0;
    virtual bool demands_freshness() const = 0;
    virtual std::string text() const = 0;
  };

  template <class Policy>
  struct Held final : Base {
    explicit Held(Policy&& from) : policy{std::move(from)} {}
    std::optional<std::size_t> choose(ReadRequest const& request, std::span<ReplicaView const> eligible) override {
      return policy.choose(request, eligible);
    }
    Freshness contract(ReadRequest const& request) override { return contract_of(policy, request); }
    bool demands_freshness() const override { return replica_router::demands_freshness(policy); }
    std::string text() const override { return text_of(policy); }

    Policy policy;
  };

  Base& held() const {
    if (held_ == nullptr) {
      throw UsageError("this AnyPolicy was moved from and holds no policy");
    }
    return *held_;
  }

  std::unique_ptr<Base> held_;
};

/// See `BasicAnyPolicy`. Why it is a template: see `replica_router.hpp`.
using AnyPolicy = BasicAnyPolicy<StickyAfterWrite<LeastLag>>;

}  // namespace replica_router
