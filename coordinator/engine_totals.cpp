#include "coordinator/engine_totals.h"

#include <cstdlib>

namespace leadline::coordinator {

void EngineTotals::add_tokens(std::span<const transport::SampledToken> tokens) {
  for (const transport::SampledToken& token : tokens) {
    if (token.draft_layer == 0) continue;
    draft_layers += static_cast<std::uint64_t>(std::abs(std::int64_t{token.draft_layer}));
    ++layered_tokens;
  }
}

void EngineTotals::add_end(const GenerationResult& result) {
  drafted_tokens += result.drafted_tokens;
  accepted_tokens += result.accepted_tokens;
  prompt_tokens += result.prompt_tokens;
  const auto [device, memory, disk, redis] = result.cached_from();
  device_tokens += device;
  memory_tokens += memory;
  disk_tokens += disk;
  redis_tokens += redis;
}

}  // namespace leadline::coordinator
