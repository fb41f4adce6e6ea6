#pragma once
// BpeModel: one pre-token -> ids, over bytes (GPT-2 alphabet) or characters (SentencePiece). Not the
// pre-tokeniser. Thread: immutable after create; a Scratch belongs to one call. Invariant: ids of a word
// depend on the word alone, so Scratch may remember words.

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "coordinator/text/merge_table.h"
#include "coordinator/text/vocabulary.h"

namespace leadline::coordinator {

struct BpeOptions {
  bool byte_level = false;     // words are bytes; the vocabulary writes them in the byte alphabet
  bool byte_fallback = false;  // an unknown character becomes its <0xXX> tokens
  bool fuse_unknown = false;   // a run of unknown characters becomes one unknown token
  bool ignore_merges = false;  // a whole word in the vocabulary is its own token
  TokenId unknown = -1;        // -1: unknown characters vanish
};

struct BpeMerge {
  TokenId left, right, merged;
  std::uint32_t rank;
};

class BpeModel {
 public:
  // Buffers and a bounded memory of words for one encode call.
  class Scratch {
   public:
    explicit Scratch(std::size_t text_bytes);

   private:
    friend class BpeModel;
    struct Remembered {
      std::string_view word;
      std::uint32_t begin = 0, count = 0;  // in tokens_
    };
    MergeScratch merge_;
    std::vector<TokenId> ids_;
    std::vector<Remembered> words_;
    std::vector<TokenId> tokens_;
  };

  BpeModel(std::shared_ptr<const Vocabulary> vocabulary, const std::vector<BpeMerge>& merges,
           const BpeOptions& options);

  // Appends the ids of `word` (well-formed UTF-8, not empty; it may be a whole text). REQUIRES: `word`
  // outlives the scratch.
  void encode_word(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const;

  const Vocabulary& vocabulary() const { return *vocabulary_; }

 private:
  void encode_part(std::string_view part, Scratch& scratch, std::vector<TokenId>& out) const;
  TokenId find_whole(std::string_view word) const;  // the one token that `word` becomes; -1: not known
  void note_whole_words();
  void split_bytes(std::string_view word, std::vector<TokenId>& ids) const;
  void split_characters(std::string_view word, std::vector<TokenId>& ids) const;
  bool fall_back(std::string_view character, std::vector<TokenId>& ids) const;

  std::shared_ptr<const Vocabulary> vocabulary_;  // shared with the tokenizer that looks ids up; immutable
  BpeOptions options_;
  MergeTable merges_;
  std::array<TokenId, 256> byte_ids_;  // byte level: of the byte; fallback: of <0xXX>
  std::array<TokenId, 128> ascii_ids_;
  std::vector<std::string> word_bytes_;  // byte level: the vocabulary's texts as bytes
  TextIndex words_;                      // byte level: word_bytes_ -> id
  std::vector<bool> whole_;              // per id: its text becomes this one token, no merging needed
  bool cuts_at_metaspace_ = false;       // no merge crosses from another character to U+2581
};

}  // namespace leadline::coordinator
