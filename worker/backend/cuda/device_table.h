#pragma once
// Where the device's kernels are: name -> the function that cudaLaunchKernel takes. Not a launch. Thread:
// constants.

#include "worker/backend/cuda/kernel_list.h"

namespace leadline::worker::cuda {

struct DeviceKernel {
  const void* function;
  int threads;
};
DeviceKernel device_kernel(KernelId id);
DeviceKernel row_device_kernel(KernelId id);  // of each half's translation unit; null when it is the other's
DeviceKernel kv_device_kernel(KernelId id);
DeviceKernel prefill_device_kernel(KernelId id);

}  // namespace leadline::worker::cuda

// A part of the table: the kernels of LIST and the function that finds them.
#define LEADLINE_CUDA_GLOBAL(name, Args, function, threads)                                     \
  __global__ void __launch_bounds__(threads) name##_kernel(const __grid_constant__ Args args) { \
    function(args);                                                                             \
  }
#define LEADLINE_CUDA_CASE(name, Args, function, threads) \
  case KernelId::name:                                    \
    return {reinterpret_cast<const void*>(&name##_kernel), threads};
#define LEADLINE_CUDA_DEVICE_TABLE(finder, LIST) \
  namespace leadline::worker::cuda {             \
  namespace {                                    \
  LIST(LEADLINE_CUDA_GLOBAL)                     \
  }                                              \
  DeviceKernel finder(KernelId id) {             \
    switch (id) {                                \
      LIST(LEADLINE_CUDA_CASE)                   \
      default:                                   \
        return {nullptr, 0};                     \
    }                                            \
  }                                              \
  }
