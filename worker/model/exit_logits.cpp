#include "worker/model/exit_logits.h"

#include <numeric>
#include <vector>

#include "monitoring/check.h"

namespace leadline::worker {

Result<void> forward_at_exits(Transformer& transformer, const StepBatch& batch,
                              std::span<const std::int32_t> exits, KvPool& pool,
                              const OnExitLogits& on_exit) {
  LEADLINE_CHECK(batch.layers.empty() && batch.kept_out < 0, "forward_at_exits cuts the layers itself");
  std::vector<std::int32_t> slots(batch.tokens.size());
  std::iota(slots.begin(), slots.end(), 0);
  std::int32_t from = 0;
  for (const std::int32_t exit : exits) {
    LEADLINE_CHECK(exit > from, "exits ascend");
    const std::vector<LayerRange> ranges(batch.sequences.size(), LayerRange{from, exit});
    StepBatch part = batch;
    part.layers = ranges;
    if (from > 0) part.kept_in = slots;
    part.kept_out = 0;
    auto logits = transformer.forward(part, pool);
    if (!logits) return tl::unexpected(logits.error());
    on_exit(exit, *logits);
    from = exit;
  }
  return {};
}

}  // namespace leadline::worker
