#pragma once
// tokenizer_json: the bytes of a tokenizer.json (and tokenizer_config.json) -> a tokenizer. Not
// tokenizer.model (sentencepiece_file). Truncation and padding in the file are ignored: lengths are the
// server's business. Thread: pure function.

#include <memory>
#include <string_view>

#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

inline constexpr std::size_t kMaxTokenizerFileBytes = std::size_t{128} << 20;

// `config`: tokenizer_config.json, "" when there is none; for the Llama classes its add_bos_token and
// add_eos_token replace the post-processor, as the reference library does. malformed_file or unsupported name
// field and value.
Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view file, std::string_view config);

}  // namespace leadline::coordinator
