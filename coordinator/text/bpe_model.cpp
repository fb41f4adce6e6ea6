#include "coordinator/text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "coordinator/text/byte_alphabet.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

constexpr std::size_t kRememberedWords = 8192;
constexpr std::size_t kRememberedTokens = 1 << 16;
constexpr std::size_t kRememberedWordBytes = 64;

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581

// U+2581 behind another character.
bool metaspace_inside(std::string_view text) {
  while (text.starts_with(kMetaspace)) text.remove_prefix(kMetaspace.size());
  return text.find(kMetaspace) != std::string_view::npos;
}

std::string byte_token(int byte) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  return std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">";
}

}  // namespace

BpeModel::Scratch::Scratch(std::size_t text_bytes)
    : words_(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 8, 1, kRememberedWords))) {}

BpeModel::BpeModel(std::shared_ptr<const Vocabulary> vocabulary, const std::vector<BpeMerge>& merges,
                   const BpeOptions& options)
    : vocabulary_(std::move(vocabulary)), options_(options) {
  merges_.reserve(merges.size());
  for (const BpeMerge& m : merges) merges_.add(m.left, m.right, m.rank, m.merged);
  byte_ids_.fill(-1);
  ascii_ids_.fill(-1);
  for (int c = 0; c < 128; ++c) ascii_ids_[c] = vocabulary_->find(std::string(1, static_cast<char>(c)));
  if (!options_.byte_level) {
    for (int b = 0; b < 256; ++b) byte_ids_[b] = vocabulary_->find(byte_token(b));
    cuts_at_metaspace_ = !options_.ignore_merges && vocabulary_->find(kMetaspace) >= 0 &&
                         std::none_of(merges.begin(), merges.end(), [this](const BpeMerge& m) {
                           return metaspace_inside(vocabulary_->text(m.merged));
                         });
    note_whole_words();
    return;
  }
  const auto limit = static_cast<TokenId>(vocabulary_->id_limit());
  word_bytes_.resize(vocabulary_->id_limit());
  words_.reserve(vocabulary_->size());
  for (TokenId id = 0; id < limit; ++id) {
    if (!vocabulary_->has(id)) continue;
    auto bytes = bytes_of_written(vocabulary_->text(id));
    if (!bytes || bytes->empty()) continue;  // no text can spell it
    word_bytes_[id] = std::move(*bytes);
    words_.insert(word_bytes_[id], id);
    if (word_bytes_[id].size() == 1) byte_ids_[static_cast<unsigned char>(word_bytes_[id][0])] = id;
  }
  note_whole_words();
}

void BpeModel::split_bytes(std::string_view word, std::vector<TokenId>& ids) const {
  bool unknown_open = false;
  for (unsigned char byte : word) {
    const TokenId id = byte_ids_[byte];
    if (id >= 0) {
      ids.push_back(id);
      unknown_open = false;
    } else if (options_.unknown >= 0) {
      if (!(unknown_open && options_.fuse_unknown)) ids.push_back(options_.unknown);
      unknown_open = true;
    }
  }
}

bool BpeModel::fall_back(std::string_view character, std::vector<TokenId>& ids) const {
  for (unsigned char byte : character) {
    if (byte_ids_[byte] < 0) return false;
  }
  for (unsigned char byte : character) ids.push_back(byte_ids_[byte]);
  return true;
}

// As the reference does it, to the letter: an open unknown is written when the next known character comes, so
// byte tokens in between stand before it.
void BpeModel::split_characters(std::string_view word, std::vector<TokenId>& ids) const {
  bool unknown_open = false;
  std::size_t at = 0;
  while (at < word.size()) {
    const std::size_t begin = at;
    const char32_t c = next_code_point(word, at);
    const std::string_view character = word.substr(begin, at - begin);
    const TokenId id = c < 128 ? ascii_ids_[c] : vocabulary_->find(character);
    if (id >= 0) {
      if (unknown_open) ids.push_back(options_.unknown);
      unknown_open = false;
      ids.push_back(id);
      continue;
    }
    if (options_.byte_fallback && fall_back(character, ids)) continue;
    if (options_.unknown < 0) continue;
    if (unknown_open && !options_.fuse_unknown) ids.push_back(options_.unknown);
    unknown_open = true;
  }
  if (unknown_open) ids.push_back(options_.unknown);
}

TokenId BpeModel::find_whole(std::string_view word) const {
  const TokenId id = options_.byte_level ? words_.find(word) : vocabulary_->find(word);
  return id >= 0 && whole_[id] ? id : -1;
}

// Most words of a text are one token: knowing which saves their merging.
void BpeModel::note_whole_words() {
  whole_.assign(vocabulary_->id_limit(), options_.ignore_merges);
  if (options_.ignore_merges) return;
  MergeScratch scratch;
  std::vector<TokenId> ids;
  for (std::size_t id = 0; id < whole_.size(); ++id) {
    const std::string_view text =
        options_.byte_level ? std::string_view(word_bytes_[id]) : vocabulary_->text(static_cast<TokenId>(id));
    if (text.empty() || text.size() > kRememberedWordBytes) continue;
    ids.clear();
    options_.byte_level ? split_bytes(text, ids) : split_characters(text, ids);
    merges_.apply(ids, scratch);
    whole_[id] = ids.size() == 1 && ids[0] == static_cast<TokenId>(id);
  }
}

void BpeModel::encode_word(std::string_view word, Scratch& s, std::vector<TokenId>& out) const {
  if (!cuts_at_metaspace_) return encode_part(word, s, out);
  std::size_t begin = 0, at = 0;
  while ((at = word.find(kMetaspace, at)) != std::string_view::npos) {
    if (at > begin) {
      encode_part(word.substr(begin, at - begin), s, out);
      begin = at;
    }
    while (word.substr(at, kMetaspace.size()) == kMetaspace) at += kMetaspace.size();
  }
  encode_part(word.substr(begin), s, out);
}

void BpeModel::encode_part(std::string_view word, Scratch& s, std::vector<TokenId>& out) const {
  if (const TokenId id = find_whole(word); id >= 0) {
    out.push_back(id);
    return;
  }
  Scratch::Remembered* remembered = nullptr;
  if (word.size() <= kRememberedWordBytes) {
    remembered = &s.words_[std::hash<std::string_view>{}(word) & (s.words_.size() - 1)];
    if (remembered->word == word) {
      const auto first = s.tokens_.begin() + remembered->begin;
      out.insert(out.end(), first, first + remembered->count);
      return;
    }
  }
  s.ids_.clear();
  if (options_.byte_level) {
    split_bytes(word, s.ids_);
  } else {
    split_characters(word, s.ids_);
  }
  merges_.apply(s.ids_, s.merge_);
  out.insert(out.end(), s.ids_.begin(), s.ids_.end());
  if (remembered != nullptr && s.tokens_.size() + s.ids_.size() <= kRememberedTokens) {
    *remembered = {word, static_cast<std::uint32_t>(s.tokens_.size()),
                   static_cast<std::uint32_t>(s.ids_.size())};
    s.tokens_.insert(s.tokens_.end(), s.ids_.begin(), s.ids_.end());
  }
}

}  // namespace leadline::coordinator
