#include "worker/runtime/step_size.h"

#include <algorithm>

namespace leadline::worker {
namespace {

// On CPUs 128 rows already hide reading the weights behind their arithmetic, and their activations stay in
// the cores' caches: larger steps are slower per row (docs/performance.md, "The running server"), and decodes
// that run beside a prompt's chunk wait longer for their next token.
constexpr std::int32_t kCpuRows = 128;
// On a GPU, and where each step costs collectives between machines, fewer and larger steps.
constexpr std::int32_t kLargeRows = 512;

}  // namespace

std::int32_t choose_step_tokens(const StepSizeInputs& inputs) {
  const std::int32_t wanted = inputs.asked > 0                       ? inputs.asked
                              : inputs.on_device || !inputs.one_host ? kLargeRows
                                                                     : kCpuRows;
  return std::max(wanted, inputs.max_sequences);
}

}  // namespace leadline::worker
