#pragma once
// sentencepiece_tokenizer: a checkpoint with only a tokenizer.model (SentencePiece BPE) -> a tokenizer. Not a
// unigram model and not a rule-based normaliser: those are unsupported. Control pieces and the tokens of
// tokenizer_config.json are looked for in the text, as the reference library does; the unknown piece is
// special. Thread: pure function.

#include <memory>
#include <string_view>

#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

// `config`: tokenizer_config.json, "" when there is none.
Result<std::unique_ptr<Tokenizer>> parse_sentencepiece_model(std::string_view file, std::string_view config);

}  // namespace leadline::coordinator
