// The prefill kernels, instantiated for the device. The code is in prefill_kernels.h.

#include "worker/backend/cuda/prefill_kernels.h"

#include "worker/backend/cuda/device_table.h"

LEADLINE_CUDA_DEVICE_TABLE(prefill_device_kernel, LEADLINE_CUDA_PREFILL_KERNELS)
