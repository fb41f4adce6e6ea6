#pragma once
// EngineTotals: what the workers said about how they computed the answers since this coordinator began,
// summed for the console's strip. Not metrics: the workers export those themselves. Thread: the I/O thread.

#include <cstdint>
#include <span>

#include "coordinator/generation.h"

namespace leadline::coordinator {

struct EngineTotals {
  std::uint64_t drafted_tokens = 0, accepted_tokens = 0;
  std::uint64_t draft_layers = 0,
                layered_tokens = 0;  // sum of layers over delivered tokens that were drafted
  std::uint64_t prompt_tokens = 0;
  std::uint64_t device_tokens = 0, memory_tokens = 0, disk_tokens = 0, redis_tokens = 0;  // of prompt_tokens

  void add_tokens(std::span<const transport::SampledToken> tokens);
  void add_end(const GenerationResult& result);
};

}  // namespace leadline::coordinator
