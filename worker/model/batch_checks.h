#pragma once
// Checks of what callers ask of a Transformer: options when it is loaded, and every batch: a wrong one is a
// bug of the caller and ends the process before it reads or writes beside a buffer. Not recovery. Thread:
// any; pure.

#include "worker/model/transformer.h"

namespace leadline::worker {

struct BatchLimits {
  std::int32_t rows = 0, logit_rows = 0, kept_rows = 0;
  std::int32_t layers = 0, vocab = 0, positions = 0;
};

void check_batch(const StepBatch& batch, const BatchLimits& limits);
// configuration: the option and its value.
Result<void> check_options(const ModelConfig& config, const TransformerOptions& options);

}  // namespace leadline::worker
