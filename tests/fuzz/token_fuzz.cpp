// Does any text make the token's parser crash, or accept what `text()` would not write?
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "replica_router/causality/lsn.hpp"
#include "replica_router/causality/token.hpp"

namespace rr = replica_router;

namespace {

void demand(bool holds, char const* claim) {
  if (!holds) {
    std::fprintf(stderr, "not so: %s\n", claim);
    std::abort();
  }
}

void parse_any_text(std::string_view text) {
  if (auto const token = rr::Token::parse(text)) {
    demand(token->text() == text, "a token that was read prints as the text that it was read from");
    demand(text.size() <= rr::Token::longest_text, "no token is longer than longest_text");
    demand(token->system_identifier != 0 && token->timeline != 0 && token->lsn, "no part of a token is missing");
  }
  if (auto const lsn = rr::Lsn::parse(text)) {
    demand(rr::Lsn::parse(lsn->text()) == lsn, "a position that was read survives being printed");
  }
}

void print_any_token(std::uint8_t const* data) {
  rr::Token token;
  std::uint64_t lsn = 0;
  std::memcpy(&token.system_identifier, data, 8);
  std::memcpy(&token.timeline, data + 8, 4);
  std::memcpy(&lsn, data + 12, 8);
  token.lsn = rr::Lsn{lsn};
  auto const text = token.text();
  bool const is_whole = token.system_identifier != 0 && token.timeline != 0 && token.lsn;
  demand(text.empty() != is_whole, "a token prints as nothing exactly when a part is missing");
  if (is_whole) {
    demand(rr::Token::parse(text) == token, "a token survives being printed");
    // One wrong character anywhere: refused, or another token with a text of its own.
    auto changed = text;
    changed[data[20] % changed.size()] = static_cast<char>(data[21]);
    parse_any_text(changed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  parse_any_text({reinterpret_cast<char const*>(data), size});
  if (size >= 22) {
    print_any_token(data);
  }
  return 0;
}
