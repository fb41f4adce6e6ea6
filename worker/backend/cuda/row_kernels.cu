// The row kernels, instantiated for the device. The code is in row_kernels.h.

#include "worker/backend/cuda/choice_kernels.h"
#include "worker/backend/cuda/device_table.h"
#include "worker/backend/cuda/row_kernels.h"

namespace leadline::worker::cuda {
namespace {

#define LEADLINE_CUDA_GLOBAL(name, Args, function, threads)                                     \
  __global__ void __launch_bounds__(threads) name##_kernel(const __grid_constant__ Args args) { \
    function(args);                                                                             \
  }
LEADLINE_CUDA_ROW_KERNELS(LEADLINE_CUDA_GLOBAL)
#undef LEADLINE_CUDA_GLOBAL

}  // namespace

DeviceKernel row_device_kernel(KernelId id) {
#define LEADLINE_CUDA_CASE(name, Args, function, threads) \
  case KernelId::name:                                    \
    return {reinterpret_cast<const void*>(&name##_kernel), threads};
  switch (id) {
    LEADLINE_CUDA_ROW_KERNELS(LEADLINE_CUDA_CASE)
    default:
      return {nullptr, 0};
  }
#undef LEADLINE_CUDA_CASE
}

}  // namespace leadline::worker::cuda
