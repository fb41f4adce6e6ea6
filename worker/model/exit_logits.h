#pragma once
// forward_at_exits: one pass over a batch that reports the logits of the wanted rows at every exit asked for,
// as a pass that left there would give them. For traces, features and tests; serving probes only where its
// policy asks. Thread: the step thread.

#include <cstdint>
#include <functional>
#include <span>

#include "worker/model/transformer.h"

namespace leadline::worker {

// Layer exit -> logits [logit_rows, vocab], rank 0 only (elsewhere no rows); valid during the call.
using OnExitLogits = std::function<void(std::int32_t exit, ConstFloatMatrix logits)>;

// Every row runs from layer 0 to the last of `exits`, KV written on the way; `batch` has no layer ranges of
// its own. REQUIRES: exits ascending, in [1, layers]; the transformer keeps at least as many rows as the
// batch has. Every rank calls it with the same batch and exits.
Result<void> forward_at_exits(Transformer& transformer, const StepBatch& batch,
                              std::span<const std::int32_t> exits, KvPool& pool, const OnExitLogits& on_exit);

}  // namespace leadline::worker
