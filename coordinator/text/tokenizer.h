#pragma once
// Tokenizer: text <-> token ids over a checkpoint's own vocabulary (tokenizer.json or tokenizer.model). Not a
// template and not a stream: see chat_template and stream_decoder. Same ids as the reference libraries,
// string for string. Thread: immutable after load; every function may be called from any thread at once.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/errc.h"
#include "transport/control/ids.h"

namespace leadline::coordinator {

using transport::TokenId;

class Tokenizer {
 public:
  // Reads tokenizer.json, else tokenizer.model, in `model_directory`; tokenizer_config.json where it matters.
  static Result<std::unique_ptr<Tokenizer>> load(const std::string& model_directory);
  virtual ~Tokenizer() = default;

  // Added tokens inside `text` become their ids (as the reference libraries do). add_special_tokens runs the
  // post-processor (bos). Input is bytes; invalid UTF-8 becomes U+FFFD. At most `limit` tokens, then
  // too_large.
  virtual Result<std::vector<TokenId>> encode(std::string_view text, bool add_special_tokens,
                                              std::size_t limit = SIZE_MAX) const = 0;
  // Whole-sequence decoding as the reference libraries': may hold U+FFFD for broken sequences. Ids outside:
  // skipped.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;

  // For streaming: appends the raw bytes that `id` adds after at least one earlier token (no stripping of a
  // leading space). Specials add nothing when skip_special_tokens. May end inside a UTF-8 sequence.
  virtual void append_bytes(TokenId id, bool skip_special_tokens, std::string& out) const = 0;
  // True where the decoder strips one leading space at the very start of a text (SentencePiece families).
  virtual bool strips_leading_space() const = 0;

  virtual std::size_t vocab_size() const = 0;  // largest id + 1
  virtual std::optional<TokenId> token_to_id(std::string_view content) const = 0;
  virtual std::string_view id_to_token(TokenId id) const = 0;  // as the vocabulary writes it; "" when none
  virtual bool is_special(TokenId id) const = 0;
};

}  // namespace leadline::coordinator
