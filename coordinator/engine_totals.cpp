#include "coordinator/engine_totals.h"

#include <algorithm>
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
  const std::uint64_t lower =
      std::uint64_t{result.cached_memory_tokens} + result.cached_disk_tokens + result.cached_redis_tokens;
  prompt_tokens += result.prompt_tokens;
  device_tokens += result.cached_tokens - std::min<std::uint64_t>(lower, result.cached_tokens);
  memory_tokens += result.cached_memory_tokens;
  disk_tokens += result.cached_disk_tokens;
  redis_tokens += result.cached_redis_tokens;
}

}  // namespace leadline::coordinator
