#pragma once
// The kernels and products of the emulated device. Not a runtime (emulated_runtime). Thread: the caller's.

#include "worker/backend/cuda/runtime.h"

namespace leadline::worker::cuda {

struct EmulatedKernel {
  const char* name;
  int threads;
  std::size_t args_bytes;
  void (*thread)(const void* args);  // what one device thread does
};
const EmulatedKernel& emulated_kernel(KernelId id);

void run_emulated(const Launch& launch, const void* args);  // every block of the grid, one after the other
// One chain of fused multiply-adds over k per output, as no device sums: bits differ from cuBLASLt's, laws do
// not.
void multiply_emulated(const Product& product);

}  // namespace leadline::worker::cuda
