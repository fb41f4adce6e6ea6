#include "worker/backend/cpu/cpu_kernels_impl.h"
#include "worker/backend/cpu/int8_tiles_impl.h"

namespace leadline::worker::cpu {
namespace {

constexpr CpuKernels with_int8_tiles(CpuKernels k) {
  k.linear = linear_with_tiles;
  return k;
}

}  // namespace

constexpr CpuKernels kAmxKernels = with_int8_tiles(table_of<Amx>("amx"));

}  // namespace leadline::worker::cpu
