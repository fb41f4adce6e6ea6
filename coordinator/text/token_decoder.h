#pragma once
// TokenDecoder: token texts -> text, by the steps that a tokenizer file lists. Not streaming: see
// Tokenizer::append_bytes, for which piece_bytes gives what one token adds in the middle of a text. Thread:
// immutable.

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/errc.h"
#include "coordinator/text/split_pattern.h"

namespace leadline::coordinator {

struct DecodeByteLevel {};
struct DecodeReplace {
  std::string literal;
  std::optional<SplitPattern> pattern;
  std::string with;
};
struct DecodeByteFallback {};  // runs of <0xXX>: their text, or one U+FFFD per byte when ill-formed
struct DecodeFuse {};
struct DecodeStrip {
  char32_t content = U' ';
  std::size_t start = 0, stop = 0;
};
struct DecodeMetaspace {
  char32_t replacement = U'\u2581';
  bool strips_first = true;  // drops every replacement in the first token
};
// SentencePiece's own: as Replace, ByteFallback, and one leading U+2581 of the first visible piece dropped.
struct DecodeSentencePiece {
  bool strips_first = true;
  bool strips_all = false;  // remove_extra_whitespaces: the first pieces lose theirs until one has text
};
using DecoderStep = std::variant<DecodeByteLevel, DecodeReplace, DecodeByteFallback, DecodeFuse, DecodeStrip,
                                 DecodeMetaspace, DecodeSentencePiece>;

class TokenDecoder {
 public:
  TokenDecoder() = default;  // the reference's rule without a decoder: texts joined by one space
  explicit TokenDecoder(std::vector<DecoderStep> steps) : steps_(std::move(steps)) {}

  std::string decode(std::vector<std::string> tokens) const;
  // What `token` adds after at least one earlier token. Raw bytes: may end inside a UTF-8 sequence.
  std::string piece_bytes(std::string_view token) const;
  // A space at the very start of a text is dropped.
  bool strips_leading_space() const;

 private:
  std::vector<DecoderStep> steps_;
};

// The byte that "<0xXX>" names.
std::optional<unsigned char> byte_of_token(std::string_view token);

}  // namespace leadline::coordinator
