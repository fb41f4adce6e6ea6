#include "coordinator/text/added_tokens.h"

#include <algorithm>

#include "coordinator/text/unicode_class.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

// Start of the last character of `text`. REQUIRES: not empty.
std::size_t last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  std::size_t at = last_character(text);
  return is_word(next_code_point(text, at));
}

bool starts_with_word(std::string_view text) {
  std::size_t at = 0;
  return !text.empty() && is_word(next_code_point(text, at));
}

std::size_t without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    const std::size_t begin = last_character(text);
    std::size_t at = begin;
    if (!is_white_space(next_code_point(text, at))) break;
    text = text.substr(0, begin);
  }
  return text.size();
}

std::size_t leading_space(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t next = at;
    if (!is_white_space(next_code_point(text, next))) break;
    at = next;
  }
  return at;
}

}  // namespace

Result<void> TokenFinder::add(std::string_view text, std::size_t index) {
  if (text.empty()) return fail(Errc::malformed_file, "added_tokens: empty content");
  std::uint32_t node = 0;
  for (unsigned char c : text) {
    auto& next = nodes_[node].next;
    const auto found =
        std::find_if(next.begin(), next.end(), [c](const auto& edge) { return edge.first == c; });
    if (found != next.end()) {
      node = found->second;
      continue;
    }
    const auto made = static_cast<std::uint32_t>(nodes_.size());
    next.emplace_back(c, made);
    nodes_.emplace_back();
    node = made;
  }
  if (nodes_[node].index >= 0)
    return fail(Errc::malformed_file, "added_tokens: '" + std::string(text) + "' appears twice");
  nodes_[node].index = static_cast<std::int64_t>(index);
  starts_[static_cast<unsigned char>(text[0])] = true;
  return {};
}

bool TokenFinder::find(std::string_view text, std::size_t from, Hit& hit) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    std::uint32_t node = 0;
    bool found = false;
    for (std::size_t at = begin; at < text.size(); ++at) {
      const auto c = static_cast<unsigned char>(text[at]);
      const auto& next = nodes_[node].next;
      const auto edge = std::find_if(next.begin(), next.end(), [c](const auto& e) { return e.first == c; });
      if (edge == next.end()) break;
      node = edge->second;
      if (nodes_[node].index >= 0) {
        hit = {begin, at + 1, static_cast<std::size_t>(nodes_[node].index)};
        found = true;
      }
    }
    if (found) return true;
  }
  return false;
}

Result<AddedTokens> AddedTokens::create(std::vector<AddedToken> tokens,
                                        const std::vector<std::string>& normalized_forms) {
  AddedTokens out;
  out.tokens_ = std::move(tokens);
  for (std::size_t i = 0; i < out.tokens_.size(); ++i) {
    const AddedToken& token = out.tokens_[i];
    if (!out.by_id_.emplace(token.id, i).second) {
      return fail(Errc::malformed_file, "added_tokens: id " + std::to_string(token.id) + " appears twice");
    }
    if (!out.by_content_.emplace(token.content, i).second) {
      return fail(Errc::malformed_file, "added_tokens: '" + token.content + "' appears twice");
    }
    auto added =
        token.normalized ? out.normalized_.add(normalized_forms[i], i) : out.raw_.add(token.content, i);
    if (!added) return tl::unexpected(added.error());
  }
  return out;
}

std::vector<TextCut> AddedTokens::cut(std::string_view text, bool normalized_text) const {
  const TokenFinder& finder = normalized_text ? normalized_ : raw_;
  std::vector<TextCut> cuts;
  std::size_t done = 0, search = 0;
  TokenFinder::Hit hit{};
  while (!finder.empty() && finder.find(text, search, hit)) {
    search = hit.end;
    const AddedToken& token = tokens_[hit.index];
    if (token.single_word &&
        (ends_with_word(text.substr(0, hit.begin)) || starts_with_word(text.substr(hit.end))))
      continue;
    std::size_t begin = hit.begin, end = hit.end;
    if (token.lstrip) begin = std::max(without_trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    if (done < begin) cuts.push_back({done, begin, -1});
    cuts.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) cuts.push_back({done, text.size(), -1});
  return cuts;
}

const AddedToken* AddedTokens::find_id(TokenId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::find_content(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

}  // namespace leadline::coordinator
