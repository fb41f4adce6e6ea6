#include "worker/backend/cpu/cpu_kernels_impl.h"
#include "worker/backend/cpu/vector_avx512.h"

namespace leadline::worker::cpu {

constexpr CpuKernels kAvx512VnniKernels = table_of<Avx512Vnni>("avx512vnni");

}  // namespace leadline::worker::cpu
