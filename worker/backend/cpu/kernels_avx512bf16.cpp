#include "worker/backend/cpu/bf16_dots_impl.h"
#include "worker/backend/cpu/cpu_kernels_impl.h"

namespace leadline::worker::cpu {

constexpr CpuKernels kAvx512Bf16Kernels = with_bf16_dots(table_of<Avx512Vnni>("avx512bf16"));

}  // namespace leadline::worker::cpu
