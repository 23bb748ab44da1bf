// Which policies can a text ask for, and how is each written? The list of them, and the making of one from its text.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "replica_router/duration_text.hpp"
#include "replica_router/errors.hpp"
#include "replica_router/near_name.hpp"
#include "replica_router/policies/least_in_flight.hpp"
#include "replica_router/policies/least_lag.hpp"
#include "replica_router/policies/lowest_latency.hpp"
#include "replica_router/policies/policy_text.hpp"
#include "replica_router/policies/prefer_zone.hpp"
#include "replica_router/policies/random.hpp"
#include "replica_router/policies/round_robin.hpp"
#include "replica_router/policies/sticky_after_write.hpp"
#include "replica_router/policies/within_staleness.hpp"
#include "replica_router/time_point.hpp"

namespace replica_router::detail {

/// One kind of policy that a text can ask for. `Any` holds any of them.
template <class Any>
struct PolicyForm {
  std::string_view name;
  std::string_view form;  // how it is written, for messages; [what may be left out]
  bool wraps_a_policy = false;
  std::string_view parameter{};  // the name of its only parameter; empty when it has none
  bool needs_the_parameter = false;
  Any (*make)(std::optional<Any> inner, std::optional<Duration> value);
};

template <class Any>
inline constexpr std::array<PolicyForm<Any>, 8> policy_forms{{
    {.name = "round-robin", .form = "round-robin", .make = [](auto, auto) { return Any{RoundRobin{}}; }},
    {.name = "random", .form = "random", .make = [](auto, auto) { return Any{Random{}}; }},
    {.name = "least-in-flight", .form = "least-in-flight", .make = [](auto, auto) { return Any{LeastInFlight{}}; }},
    {.name = "least-lag",
     .form = "least-lag[(tolerance=500ms)]",
     .parameter = "tolerance",
     .make = [](auto, auto value) { return Any{value ? LeastLag{*value} : LeastLag{}}; }},
    {.name = "lowest-latency",
     .form = "lowest-latency[(window=5ms)]",
     .parameter = "window",
     .make = [](auto, auto value) { return Any{value ? LowestLatency{*value} : LowestLatency{}}; }},
    {.name = "prefer-zone",
     .form = "prefer-zone(<policy>)",
     .wraps_a_policy = true,
     .make = [](auto inner, auto) { return Any{PreferZone{std::move(inner).value()}}; }},
    {.name = "sticky",
     .form = "sticky(<policy>[, window=2s])",
     .wraps_a_policy = true,
     .parameter = "window",
     .make =
         [](auto inner, auto value) {
           return Any{StickyAfterWrite{std::move(inner).value(), value.value_or(Duration::zero())}};
         }},
    {.name = "within-staleness",
     .form = "within-staleness(<policy>, bound=1s)",
     .wraps_a_policy = true,
     .parameter = "bound",
     .needs_the_parameter = true,
     .make =
         [](auto inner, auto value) {
           return Any{WithinStaleness{value.value(), std::move(inner).value()}};
         }},
}};

/// Makes the policy that a text asks for.
template <class Any, class Text = PolicyText>
class PolicyMaker {
 public:
  explicit PolicyMaker(std::string_view text) : reader_{text} {}

  Any make() { return make(reader_.read()); }

 private:
  Any make(Text const& text) const {
    auto const& form = form_of(text.name);
    auto inner = inner_of(text, form);
    auto const* const parameter = parameter_of(text, form);
    if (parameter == nullptr) {
      return form.make(std::move(inner), std::nullopt);
    }
    auto const value = parse_duration(parameter->value);
    if (!value) {
      reader_.refuse(parameter->value,
                     "a duration is a whole number with one of " + std::string(duration_units) + ", such as 250ms");
    }
    try {
      return form.make(std::move(inner), value);
    } catch (ConfigError const& error) {
      reader_.refuse(parameter->value, error.what());
    }
  }

  PolicyForm<Any> const& form_of(std::string_view name) const {
    std::vector<std::string> names;
    std::string forms;
    for (auto const& form : policy_forms<Any>) {
      if (form.name == name) {
        return form;
      }
      names.emplace_back(form.name);
      forms += (forms.empty() ? "" : ", ") + std::string(form.form);
    }
    auto const nearest = near_name(as_in_text(name), names);
    reader_.refuse(name, "no policy has this name" +
                             (nearest.empty() ? std::string{} : " (did you mean " + std::string(nearest) + "?)") +
                             "; the policies are " + forms);
  }

  /// A name as it would be here, where it is written as in C++ or with underscores.
  static std::string as_in_text(std::string_view name) {
    std::string out(name);
    for (auto& c : out) {
      if (c >= 'A' && c <= 'Z') {
        c = static_cast<char>(c - 'A' + 'a');
      } else if (c == '_') {
        c = '-';
      }
    }
    return out;
  }

  std::optional<Any> inner_of(Text const& text, PolicyForm<Any> const& form) const {
    auto const& inner = text.policies;
    auto const wanted = form.wraps_a_policy ? std::size_t{1} : std::size_t{0};
    if (inner.size() < wanted) {
      reader_.refuse(text.name, "it needs a policy inside, as in " + std::string(form.form));
    }
    if (inner.size() > wanted) {
      reader_.refuse(inner[wanted].name, "expected no more here; it is written " + std::string(form.form));
    }
    return form.wraps_a_policy ? std::optional{make(inner.front())} : std::nullopt;
  }

  typename Text::Parameter const* parameter_of(Text const& text, PolicyForm<Any> const& form) const {
    if (text.parameters.empty() && form.needs_the_parameter) {
      reader_.refuse(text.name, "it needs " + std::string(form.parameter) + ", as in " + std::string(form.form));
    }
    for (std::size_t i = 0; i < text.parameters.size(); ++i) {
      auto const name = text.parameters[i].name;
      if (form.parameter.empty() || name != form.parameter) {
        reader_.refuse(name, "no such parameter here; it is written " + std::string(form.form));
      }
      if (i > 0) {
        reader_.refuse(name, "this parameter was given before");
      }
    }
    return text.parameters.empty() ? nullptr : &text.parameters.front();
  }

  PolicyTextReader<Text> reader_;
};

}  // namespace replica_router::detail
