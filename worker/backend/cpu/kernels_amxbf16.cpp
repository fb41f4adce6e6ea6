#include "worker/backend/cpu/attention_stream_impl.h"
#include "worker/backend/cpu/bf16_tiles_impl.h"
#include "worker/backend/cpu/cpu_kernels_impl.h"

namespace leadline::worker::cpu {

namespace {

constexpr CpuKernels with_tile_attention(CpuKernels k) {
  k.attention = attention_with_tiles;
  return k;
}

}  // namespace

constexpr CpuKernels kAmxBf16Kernels = with_tile_attention(with_bf16_tiles(table_of<Amx>("amxbf16")));

}  // namespace leadline::worker::cpu
