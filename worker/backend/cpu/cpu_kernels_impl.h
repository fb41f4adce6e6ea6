#pragma once
// The kernel table of one vector type V: each algorithm once (elementwise, linear, attention), instantiated
// per ISA. Included by kernels_<isa>.cpp only. Unnamed namespace on purpose (vector_scalar.h).

#include "worker/backend/cpu/attention_impl.h"
#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/elementwise_impl.h"
#include "worker/backend/cpu/int4_quantize_impl.h"
#include "worker/backend/cpu/int8_impl.h"
#include "worker/backend/cpu/linear_impl.h"

namespace leadline::worker::cpu {
namespace {

template <class V>
constexpr CpuKernels table_of(const char* name) {
  CpuKernels k = {};
  k.name = name;
  k.group_rows = V::kGroupRows;
  k.direct_rows = V::kDirectRows;
  k.pack_group = pack_group<V>;
  k.int_group_rows = V::kIntRows;
  k.int_tiles = V::kTiles;
  k.quantize_group = quantize_group<V>;
  k.quantize_int4 = quantize_int4<V>;
  k.linear = linear<V>;
  k.rms_norm = rms_norm<V>;
  k.silu_mul = silu_mul<V>;
  k.add_partials = add_partials<V>;
  k.rotate = rotate<V>;
  k.widen = widen<V>;
  k.narrow = narrow<V>;
  k.quantize_slot = quantize_slot<V>;
  k.attention = attention<V>;
  k.attention_merge = attention_merge<V>;
  k.attention_finish = attention_finish<V>;
  return k;
}

}  // namespace
}  // namespace leadline::worker::cpu
