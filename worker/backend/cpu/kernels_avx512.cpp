#include "worker/backend/cpu/cpu_kernels_impl.h"
#include "worker/backend/cpu/vector_avx512.h"

namespace leadline::worker::cpu {

constexpr CpuKernels kAvx512Kernels = table_of<Avx512>("avx512");

}  // namespace leadline::worker::cpu
