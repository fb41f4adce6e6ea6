#include "worker/backend/cpu/cpu_kernels_impl.h"
#include "worker/backend/cpu/vector_avx2.h"

namespace leadline::worker::cpu {

constexpr CpuKernels kAvx2Kernels = table_of<Avx2>("avx2");

}  // namespace leadline::worker::cpu
