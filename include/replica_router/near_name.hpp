// Which name was probably meant? The nearest of the known ones, for messages about typos.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace replica_router::detail {

/// How many letters must be inserted, removed or replaced to turn one text into the other.
/// Source: Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", 1966.
template <class Count = std::size_t>
Count edits_between(std::string_view a, std::string_view b) {
  std::vector<Count> row(b.size() + 1);
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = i;
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      auto const replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

/// The known name at most two edits away (one for names of up to five letters); empty when none is, or when the text is
/// too long to be a typo of any.
template <class Names>
std::string_view near_name(std::string_view text, Names const& known) {
  std::string_view nearest;
  std::size_t fewest = 3;
  for (std::string_view const name : known) {
    if (text.size() > name.size() + 2) {
      continue;
    }
    auto const edits = edits_between(text, name);
    if (edits < fewest && (edits < 2 || name.size() > 5)) {
      nearest = name;
      fewest = edits;
    }
  }
  return nearest;
}

}  // namespace replica_router::detail
