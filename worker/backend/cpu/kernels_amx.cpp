#include "worker/backend/cpu/cpu_kernels_impl.h"
#include "worker/backend/cpu/vector_amx.h"

namespace leadline::worker::cpu {

constexpr CpuKernels kAmxKernels = table_of<Amx>("amx");

}  // namespace leadline::worker::cpu
