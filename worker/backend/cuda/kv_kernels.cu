// The kv kernels, instantiated for the device. The code is in kv_kernels.h.

#include "worker/backend/cuda/kv_kernels.h"

#include "worker/backend/cuda/device_table.h"

LEADLINE_CUDA_DEVICE_TABLE(kv_device_kernel, LEADLINE_CUDA_KV_KERNELS)
