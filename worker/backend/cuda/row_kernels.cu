// The row kernels, instantiated for the device. The code is in row_kernels.h and choice_kernels.h.

#include "worker/backend/cuda/row_kernels.h"

#include "worker/backend/cuda/choice_kernels.h"
#include "worker/backend/cuda/device_table.h"

LEADLINE_CUDA_DEVICE_TABLE(row_device_kernel, LEADLINE_CUDA_ROW_KERNELS)
