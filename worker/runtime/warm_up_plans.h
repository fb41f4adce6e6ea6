#pragma once
// The steps that a worker runs before it is ready: on the CPU one, which faults memory in and opens the
// collectives' connections; on a device the largest prompt step (scratch grows to its end), then, where steps
// are recorded, every decode shape by (bucket of the batch, power of two of context splits) and the commonest
// rounds by (exit, bucket, drafts, splits), all of them once and then once more: the second run is recorded.
// Pure: limits in, plans out. Not the running (warm_up). Thread: any. Invariant: plans touch page 0 only,
// which nobody uses yet, and positions below max_model_len.

#include <cstdint>
#include <vector>

#include "worker/scheduler/step_plan.h"

namespace leadline::worker {

struct WarmUpLimits {
  std::int32_t max_sequences = 1;
  std::int32_t step_tokens = 16;
  std::int32_t max_model_len = 16;
  bool device = false;              // the backend's memory is not the host's
  bool records = false;             // and it records decode steps
  std::vector<std::int32_t> exits;  // layers at which rounds may draft
  std::int32_t max_draft_rows = 0;  // of one step
};

constexpr std::int32_t kWarmUpSplitSlots =
    256;  // of the CUDA backend's attention: lengths by powers of two of it
constexpr std::size_t kMaxWarmUpRounds = 96;  // what is beyond is recorded when it is met for the second time

std::vector<StepPlan> warm_up_plans(const WarmUpLimits& limits);

}  // namespace leadline::worker
