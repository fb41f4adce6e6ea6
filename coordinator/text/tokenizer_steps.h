#pragma once
// tokenizer_steps: the normalizer, pre_tokenizer and decoder objects of a tokenizer.json -> the steps that
// are built here. Not the model and not the added tokens (tokenizer_json). A type or option that is not built
// is unsupported, by field and value. Thread: pure functions.

#include "coordinator/text/json_field.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/pre_tokenizer.h"
#include "coordinator/text/token_decoder.h"

namespace leadline::coordinator {

inline constexpr std::size_t kMaxSteps = 64;

struct PreTokenizerPlan {
  std::vector<PreTokenizerStep> steps;
  bool byte_level = false;  // words reach the model as bytes
};

Result<std::vector<NormalizerStep>> read_normalizer(const JsonField& field);
Result<PreTokenizerPlan> read_pre_tokenizer(const JsonField& field);
Result<std::vector<DecoderStep>> read_decoder(const JsonField& field);

}  // namespace leadline::coordinator
