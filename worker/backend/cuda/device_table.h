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

}  // namespace leadline::worker::cuda
