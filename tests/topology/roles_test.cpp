#include "replica_router/topology/roles.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rr = replica_router;
using rr::Role;
using rr::RoleEvidence;
using rr::RoleHint;
using rr::RoleJudgement;

namespace {

constexpr std::uint64_t ours = 1000;
constexpr std::uint64_t theirs = 2000;

constexpr RoleEvidence known(bool is_in_recovery, std::uint32_t timeline, std::uint64_t system,
                             bool is_certain = true) {
  RoleEvidence out;
  out.is_known = true;
  out.is_in_recovery = is_in_recovery;
  out.timeline = timeline;
  out.is_timeline_certain = is_certain;
  out.system_identifier = system;
  return out;
}

constexpr RoleEvidence silent{};
constexpr RoleEvidence standby = known(true, 1, ours);
constexpr RoleEvidence standby_of_no_certain_timeline = known(true, 3, ours, false);
constexpr RoleEvidence writable_on_1 = known(false, 1, ours);
constexpr RoleEvidence writable_on_2 = known(false, 2, ours);
constexpr RoleEvidence writable_on_unknown = known(false, 0, ours);
constexpr RoleEvidence foreign = known(false, 9, theirs);
constexpr std::array kinds{
    silent, standby, standby_of_no_certain_timeline, writable_on_1, writable_on_2, writable_on_unknown, foreign};
constexpr char const* letters = "-su12?f";

constexpr RoleEvidence expected_primary(RoleEvidence evidence) {
  evidence.hint = RoleHint::primary;
  return evidence;
}

RoleJudgement judge(std::vector<RoleEvidence> const& nodes, std::uint64_t pinned = 0, std::uint32_t highest = 0) {
  return rr::judge_roles(nodes, pinned, highest);
}

std::string text_of(std::vector<RoleEvidence> const& nodes) {
  std::string out;
  for (auto const& node : nodes) {
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      if (node.is_known == kinds[kind].is_known && node.is_in_recovery == kinds[kind].is_in_recovery &&
          node.timeline == kinds[kind].timeline && node.system_identifier == kinds[kind].system_identifier) {
        out += letters[kind];
      }
    }
    out += node.hint == RoleHint::primary ? "! " : " ";
  }
  return out;
}

/// The identity, told once more: pinned, else the first expected primary's, else the one with the most votes, the
/// first to have got them.
std::uint64_t identity(std::vector<RoleEvidence> const& nodes, std::uint64_t pinned) {
  if (pinned != 0) {
    return pinned;
  }
  std::map<std::uint64_t, int> votes;
  for (auto const& node : nodes) {
    if (node.is_known && node.hint == RoleHint::primary) {
      return node.system_identifier;
    }
  }
  int most = 0;
  std::uint64_t out = 0;
  for (auto const& node : nodes) {
    if (node.is_known && ++votes[node.system_identifier] > most) {
      most = votes[node.system_identifier];
      out = node.system_identifier;
    }
  }
  return out;
}

/// What is wrong with a judgement; empty when nothing is.
std::string complaint(std::vector<RoleEvidence> const& nodes, std::uint64_t pinned, std::uint32_t highest) {
  auto const judgement = judge(nodes, pinned, highest);
  if (judgement.roles.size() != nodes.size()) {
    return "not one role a node";
  }
  auto const cluster = identity(nodes, pinned);
  if (judgement.system_identifier != cluster) {
    return "identity " + std::to_string(judgement.system_identifier);
  }
  auto const is_writable = [&](RoleEvidence const& node) {
    return node.is_known && !node.is_in_recovery && node.system_identifier == cluster;
  };
  auto newest = highest;
  for (auto const& node : nodes) {
    bool const is_sure = node.is_known && node.system_identifier == cluster && node.is_timeline_certain;
    newest = is_sure ? std::max(newest, node.timeline) : newest;
  }
  if (judgement.highest_timeline != newest) {
    return "highest timeline " + std::to_string(judgement.highest_timeline);
  }
  std::vector<std::size_t> contenders;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (is_writable(nodes[i]) && nodes[i].timeline == newest) {
      contenders.push_back(i);
    }
  }
  if (judgement.is_split != (contenders.size() > 1)) {
    return "split";
  }
  bool const has_primary = contenders.size() == 1;
  if (judgement.primary.has_value() != has_primary || (has_primary && *judgement.primary != contenders[0])) {
    return "primary";
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    auto const role = !nodes[i].is_known                                          ? Role::unknown
                      : nodes[i].system_identifier != judgement.system_identifier ? Role::foreign
                      : nodes[i].is_in_recovery                                   ? Role::replica
                      : has_primary && contenders[0] == i                         ? Role::primary
                                                                                  : Role::fenced;
    if (judgement.roles[i] != role) {
      return "role of node " + std::to_string(i) + " is " + std::string{rr::text_of(judgement.roles[i])};
    }
  }
  // A newer primary that goes away leaves the older one fenced.
  if (judgement.primary && nodes[*judgement.primary].timeline != 0) {
    auto later = nodes;
    later[*judgement.primary].is_known = false;
    if (judge(later, judgement.system_identifier, judgement.highest_timeline).primary) {
      return "an old primary took over";
    }
  }
  return {};
}

}  // namespace

TEST_CASE("all combinations of up to four nodes are judged by the rules") {
  constexpr std::size_t faces = kinds.size() * 2;
  std::size_t judged = 0;
  for (std::size_t count = 0; count <= 4; ++count) {
    std::size_t combinations = 1;
    for (std::size_t i = 0; i < count; ++i) {
      combinations *= faces;
    }
    for (std::size_t combination = 0; combination < combinations; ++combination) {
      std::vector<RoleEvidence> nodes;
      for (std::size_t i = 0, rest = combination; i < count; ++i, rest /= faces) {
        nodes.push_back(kinds[rest % kinds.size()]);
        nodes.back().hint = rest / kinds.size() % 2 == 0 ? RoleHint::replica : RoleHint::primary;
      }
      for (auto const pinned : {std::uint64_t{0}, ours}) {
        for (std::uint32_t const highest : {0U, 2U, 3U}) {
          if (auto const wrong = complaint(nodes, pinned, highest); !wrong.empty()) {
            FAIL(text_of(nodes) << (pinned != 0 ? "pinned" : "not pinned") << ", highest " << highest << ": " << wrong);
          }
          ++judged;
        }
      }
    }
  }
  CHECK(judged == (1 + 14 + 14 * 14 + 14 * 14 * 14 + 14 * 14 * 14 * 14) * 6);
}

TEST_CASE("one writable node and its standbys") {
  auto const judgement = judge({expected_primary(writable_on_1), standby, silent});
  CHECK(judgement.primary == 0);
  CHECK(judgement.roles == std::vector{Role::primary, Role::replica, Role::unknown});
  CHECK_FALSE(judgement.is_split);
  CHECK(judgement.system_identifier == ours);
}

TEST_CASE("the hint does not make a primary") {
  auto const judgement = judge({expected_primary(standby), writable_on_1});
  CHECK(judgement.primary == 1);
  CHECK(judgement.roles == std::vector{Role::replica, Role::primary});
}

TEST_CASE("of two writable nodes the higher timeline wins, and the other stays fenced while it is away") {
  auto const both = judge({expected_primary(writable_on_1), writable_on_2});
  CHECK(both.primary == 1);
  CHECK(both.roles == std::vector{Role::fenced, Role::primary});
  auto const alone = judge({expected_primary(writable_on_1), silent}, ours, both.highest_timeline);
  CHECK_FALSE(alone.primary);
  CHECK(alone.roles[0] == Role::fenced);
  CHECK_FALSE(alone.is_split);
}

TEST_CASE("equal timelines are a split, and so are two unknown ones") {
  for (auto const& each : {writable_on_1, writable_on_unknown}) {
    auto const judgement = judge({each, each});
    CHECK(judgement.is_split);
    CHECK_FALSE(judgement.primary);
    CHECK(judgement.roles == std::vector{Role::fenced, Role::fenced});
  }
}

TEST_CASE("who does not tell its timeline is no match for one who does, nor takes over when that is away") {
  auto const both = judge({writable_on_unknown, writable_on_1});
  CHECK(both.primary == 1);
  CHECK(both.roles[0] == Role::fenced);
  CHECK_FALSE(judge({writable_on_unknown, silent}, ours, both.highest_timeline).primary);
  CHECK(judge({writable_on_unknown, silent}).primary == 0);
}

TEST_CASE("a standby that surely follows a later timeline fences a primary of an earlier one") {
  auto const judgement = judge({expected_primary(writable_on_1), known(true, 2, ours)});
  CHECK_FALSE(judgement.primary);
  CHECK(judgement.roles == std::vector{Role::fenced, Role::replica});
  CHECK(judgement.highest_timeline == 2);
  CHECK(judge({expected_primary(writable_on_1), known(true, 2, ours, false)}).primary == 0);
}

TEST_CASE("a foreign node is neither primary nor does its timeline fence anybody") {
  auto const judgement = judge({expected_primary(writable_on_1), foreign});
  CHECK(judgement.primary == 0);
  CHECK(judgement.roles == std::vector{Role::primary, Role::foreign});
  CHECK(judgement.highest_timeline == 1);
}

TEST_CASE("a foreign standby is foreign, too") {
  CHECK(judge({expected_primary(writable_on_1), known(true, 1, theirs)}).roles[1] == Role::foreign);
}

TEST_CASE("an identity once pinned is not voted away") {
  auto const judgement = judge({expected_primary(silent), foreign, foreign}, ours);
  CHECK(judgement.system_identifier == ours);
  CHECK_FALSE(judgement.primary);
  CHECK_FALSE(judgement.is_split);
}

TEST_CASE("a node that does not tell its identity is taken for one of ours") {
  auto const judgement = judge({expected_primary(writable_on_1), known(true, 1, 0)});
  CHECK(judgement.roles[1] == Role::replica);
}

TEST_CASE("without the expected primary the majority tells the identity, and no vote is none") {
  CHECK(judge({foreign, standby, standby}).system_identifier == ours);
  CHECK(judge({silent, known(true, 1, 0)}).system_identifier == 0);
}
