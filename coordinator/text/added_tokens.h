#pragma once
// AddedTokens: the tokens that stand outside the merges (markup, special tokens), and where they occur in a
// text. Not the vocabulary; an added token may also be in it. Thread: immutable after create. Invariant: a
// cut covers the text in order; of several tokens at one place the longest wins (leftmost-longest).

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/errc.h"
#include "transport/control/ids.h"

namespace leadline::coordinator {

using transport::TokenId;

inline constexpr std::size_t kMaxAddedTokens = 100'000;

struct AddedToken {
  TokenId id = -1;
  std::string content;
  bool single_word = false;  // only between non-word characters
  bool lstrip = false;       // takes white space before it
  bool rstrip = false;       // takes white space behind it
  bool normalized = false;   // looked for in normalised text, in its normalised form
  bool special = false;
};

struct TextCut {
  std::size_t begin, end;  // bytes
  TokenId id;              // -1: plain text
};

// Finds any of a set of texts, leftmost and longest.
class TokenFinder {
 public:
  // malformed_file when a text is there twice. Empty texts are refused too.
  Result<void> add(std::string_view text, std::size_t index);
  bool empty() const { return nodes_.size() == 1; }
  struct Hit {
    std::size_t begin, end, index;
  };
  // First occurrence at or after `from`; false when none.
  bool find(std::string_view text, std::size_t from, Hit& hit) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> next;
    std::int64_t index = -1;
  };
  std::vector<Node> nodes_{1};
  bool starts_[256] = {};
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // normalized_forms[i]: the form of tokens[i] that is looked for when it is `normalized`.
  static Result<AddedTokens> create(std::vector<AddedToken> tokens,
                                    const std::vector<std::string>& normalized_forms);

  // Cuts raw text at tokens that are not `normalized`, or normalised text at those that are.
  std::vector<TextCut> cut(std::string_view text, bool normalized_text) const;
  bool any_normalized() const { return !normalized_.empty(); }
  const AddedToken* find_id(TokenId id) const;
  const AddedToken* find_content(std::string_view content) const;
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;
  TokenFinder raw_, normalized_;
  std::unordered_map<TokenId, std::size_t> by_id_;
  std::unordered_map<std::string, std::size_t> by_content_;
};

}  // namespace leadline::coordinator
