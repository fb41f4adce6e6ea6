#pragma once
// Vocabulary: token texts <-> ids, as the file writes them. Not the added tokens (added_tokens) and not the
// merges (bpe_model). Thread: immutable after the last add(). Invariant: texts are unique, ids are unique;
// ids may have gaps.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/errc.h"
#include "transport/control/ids.h"

namespace leadline::coordinator {

using transport::TokenId;

inline constexpr std::size_t kMaxVocabulary = 2'000'000;
inline constexpr std::size_t kMaxTokenTextBytes = 4096;

// Open-addressing index from texts to ids; the texts live with the owner.
class TextIndex {
 public:
  void reserve(std::size_t entries);
  // False when `text` is there already. REQUIRES: text outlives the index and reserve() covered it.
  bool insert(std::string_view text, TokenId id);
  TokenId find(std::string_view text) const;  // -1: none

 private:
  struct Slot {
    const char* data = nullptr;
    std::uint32_t bytes = 0;
    TokenId id = -1;
  };
  std::vector<Slot> slots_;
};

class Vocabulary {
 public:
  // malformed_file on a text or id that is there twice, or past the limits. `where` begins the message.
  static Result<Vocabulary> create(std::vector<std::pair<std::string, TokenId>> entries,
                                   const std::string& where);

  TokenId find(std::string_view text) const { return index_.find(text); }  // -1: none
  std::string_view text(TokenId id) const;                                 // "": none
  bool has(TokenId id) const;
  std::size_t size() const { return entries_; }           // entries
  std::size_t id_limit() const { return by_id_.size(); }  // largest id + 1

 private:
  std::vector<std::string> by_id_;
  std::vector<bool> present_;
  std::size_t entries_ = 0;
  TextIndex index_;
};

}  // namespace leadline::coordinator
