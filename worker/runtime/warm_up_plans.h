#pragma once
// The steps that a worker runs before it is ready: on the CPU one, which faults memory in and opens the
// collectives' connections; on a device that records steps, the largest prompt step (scratch grows to its
// end), then every decode shape by (bucket of the batch, power of two of context splits), all of them once
// and then once more: the second run is recorded. Pure: limits in, plans out. Not the running (worker.cpp).
// Thread: any. Invariant: plans touch page 0 only, which nobody uses yet, and positions below max_model_len.

#include <cstdint>
#include <vector>

#include "worker/scheduler/step_plan.h"

namespace leadline::worker {

struct WarmUpLimits {
  std::int32_t max_sequences = 1;
  std::int32_t step_tokens = 16;
  std::int32_t max_model_len = 16;
  bool records = false;  // the backend is a device that records decode steps
};

constexpr std::int32_t kWarmUpSplitSlots =
    256;  // of the CUDA backend's attention: lengths by powers of two of it

std::vector<StepPlan> warm_up_plans(const WarmUpLimits& limits);

}  // namespace leadline::worker
