#pragma once
// TokenizerConfig: the fields of tokenizer_config.json that change ids. Not the chat template, which
// chat_template reads. Thread: a value.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/errc.h"
#include "coordinator/text/added_tokens.h"

namespace leadline::coordinator {

struct TokenizerConfig {
  bool llama_class = false;  // LlamaTokenizer, LlamaTokenizerFast, CodeLlama...: these obey the next two
  std::optional<bool> add_bos_token, add_eos_token;
  bool legacy =
      true;  // SentencePiece files: every piece of text between special tokens gets the dummy prefix
  std::string bos_token, eos_token;
  std::vector<AddedToken> added_tokens;  // added_tokens_decoder
};

// "" gives the defaults. malformed_file names field and value.
Result<TokenizerConfig> parse_tokenizer_config(std::string_view file);

}  // namespace leadline::coordinator
