#pragma once
// How many rows a step may have when --step-tokens does not say. Pure. Not a promise about bits: those do not
// depend on how prompts are cut (exactness X1).

#include <cstdint>

namespace leadline::worker {

struct StepSizeInputs {
  std::int32_t asked = 0;  // --step-tokens; 0: choose
  std::int32_t max_sequences = 64;
  bool on_device = false;  // a GPU runs the model
  bool one_host = true;    // all ranks of the worker are on one machine
};

// At least max_sequences, so that every running sequence has its row.
std::int32_t choose_step_tokens(const StepSizeInputs& inputs);

}  // namespace leadline::worker
