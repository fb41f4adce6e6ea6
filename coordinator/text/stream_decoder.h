#pragma once
// StreamDecoder: tokens of one generation -> pieces of text that never split a UTF-8 sequence and never show
// a possible stop string before it is decided. Not a tokenizer: it borrows one. Thread: one owner. Invariant:
// the pieces joined equal decode() of the tokens up to the stop.

#include <optional>
#include <string>
#include <vector>

#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

struct StreamPiece {
  std::string text;                 // whole UTF-8; may be empty
  std::optional<std::size_t> stop;  // index of the stop string that ended the text; nothing follows
};

class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, std::vector<std::string> stops, bool skip_special_tokens);
  StreamPiece push(TokenId token);
  StreamPiece finish();  // what was held back; incomplete bytes become U+FFFD

 private:
  StreamPiece release(bool at_end);
  const Tokenizer* tokenizer_;
  std::vector<std::string> stops_;
  bool skip_special_tokens_;
  bool at_start_ = true, stopped_ = false;
  std::string pending_;  // bytes not yet released
};

}  // namespace leadline::coordinator
