#pragma once
// The GPU backends that tests can run here: the emulated device always (the kernels themselves, as fibers on
// the CPU), a real one where CUDA is built in and finds one. What is left out is printed, with the reason.
// Thread: one test.

#include <memory>
#include <string>
#include <vector>

#include "worker/backend/backend.h"

namespace leadline::tests {

// "cuda_emulated", "cuda"; prints one SKIPPED line for each that cannot run.
std::vector<std::string> usable_devices();
// One of usable_devices(), on device memory. Null: unknown name.
std::unique_ptr<worker::Backend> device_backend(const std::string& name, bool rank_invariant = true,
                                                bool record_steps = true);

}  // namespace leadline::tests
