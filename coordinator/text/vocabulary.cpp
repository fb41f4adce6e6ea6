#include "coordinator/text/vocabulary.h"

#include <bit>
#include <functional>

namespace leadline::coordinator {

void TextIndex::reserve(std::size_t entries) {
  slots_.assign(std::bit_ceil(entries * 2 + 2), Slot{});
}

bool TextIndex::insert(std::string_view text, TokenId id) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = std::hash<std::string_view>{}(text)&mask;
  while (slots_[at].data != nullptr) {
    if (std::string_view(slots_[at].data, slots_[at].bytes) == text) return false;
    at = (at + 1) & mask;
  }
  slots_[at] = Slot{text.data(), static_cast<std::uint32_t>(text.size()), id};
  return true;
}

TokenId TextIndex::find(std::string_view text) const {
  if (slots_.empty()) return -1;
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = std::hash<std::string_view>{}(text)&mask;
  while (slots_[at].data != nullptr) {
    if (std::string_view(slots_[at].data, slots_[at].bytes) == text) return slots_[at].id;
    at = (at + 1) & mask;
  }
  return -1;
}

Result<Vocabulary> Vocabulary::create(std::vector<std::pair<std::string, TokenId>> entries,
                                      const std::string& where) {
  const auto bad = [&](const std::string& what) { return fail(Errc::malformed_file, where + ": " + what); };
  if (entries.empty() || entries.size() > kMaxVocabulary) {
    return bad(std::to_string(entries.size()) + " entries, allowed are 1 to " +
               std::to_string(kMaxVocabulary));
  }
  TokenId largest = 0;
  for (const auto& [text, id] : entries) {
    if (id < 0 || static_cast<std::size_t>(id) >= kMaxVocabulary)
      return bad("id " + std::to_string(id) + " out of range");
    if (text.size() > kMaxTokenTextBytes)
      return bad("id " + std::to_string(id) + " has a text of more than 4096 bytes");
    largest = std::max(largest, id);
  }
  Vocabulary out;
  out.by_id_.resize(static_cast<std::size_t>(largest) + 1);
  out.present_.resize(out.by_id_.size());
  out.index_.reserve(entries.size());
  for (auto& [text, id] : entries) {
    if (out.present_[id]) return bad("id " + std::to_string(id) + " appears twice");
    out.present_[id] = true;
    out.by_id_[id] = std::move(text);
    if (!out.index_.insert(out.by_id_[id], id)) return bad("text '" + out.by_id_[id] + "' appears twice");
  }
  out.entries_ = entries.size();
  return out;
}

bool Vocabulary::has(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < present_.size() && present_[id];
}

std::string_view Vocabulary::text(TokenId id) const {
  return has(id) ? std::string_view(by_id_[id]) : std::string_view();
}

}  // namespace leadline::coordinator
