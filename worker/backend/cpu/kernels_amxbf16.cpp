#include "worker/backend/cpu/bf16_tiles_impl.h"
#include "worker/backend/cpu/cpu_kernels_impl.h"

namespace leadline::worker::cpu {

constexpr CpuKernels kAmxBf16Kernels = with_bf16_tiles(table_of<Amx>("amxbf16"));

}  // namespace leadline::worker::cpu
