#pragma once
// Models without a checkpoint, for measuring: the dimensions of well-known shapes, and tensors of random
// values for any ModelConfig. Not for answers: the text is noise. Thread: pure. Invariants: the same shape
// and seed give the same bits everywhere; matrices share one block of memory, so a model of any depth costs
// what its largest tensor does (layers therefore overlap, which changes no timing once they are packed).

#include <cstdint>
#include <memory>
#include <string_view>

#include "worker/model/model_config.h"
#include "worker/model/weight_file.h"

namespace leadline::worker {

// "tiny" (seconds, for tests), "1b" (TinyLlama 1.1B), "3b" (Llama 3.2 3B), "8b" (Llama 3 8B); configuration
// otherwise. Positions reach to `positions`.
Result<ModelConfig> named_shape(std::string_view name, std::int32_t positions);

// bf16 matrices uniform within +-0.04, norm weights 1, biases 0; every tensor that `config` asks for.
std::unique_ptr<WeightFile> synthetic_weights(const ModelConfig& config, std::uint64_t seed);

}  // namespace leadline::worker
