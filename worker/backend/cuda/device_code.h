#pragma once
// The few words that device code is written in: where a thread stands, barriers, shuffles, conversions. Under
// nvcc they are CUDA's; under g++ they are the emulator's (emulator/fiber_block.h), so that the very same
// kernels run, slowly, where there is no GPU. Not a portability layer for speed. Thread: a device thread, or
// a fiber that stands for one.

#include <cstdint>

#include "worker/backend/cuda/kernel_args.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define LEADLINE_DEVICE __device__ __forceinline__
namespace leadline::worker::cuda {
LEADLINE_DEVICE int thread_index() {
  return static_cast<int>(threadIdx.x);
}
LEADLINE_DEVICE int block_x() {
  return static_cast<int>(blockIdx.x);
}
LEADLINE_DEVICE int block_y() {
  return static_cast<int>(blockIdx.y);
}
LEADLINE_DEVICE int block_z() {
  return static_cast<int>(blockIdx.z);
}
LEADLINE_DEVICE int grid_x() {
  return static_cast<int>(gridDim.x);
}
LEADLINE_DEVICE void block_barrier() {
  __syncthreads();
}
LEADLINE_DEVICE void warp_barrier() {
  __syncwarp();
}
LEADLINE_DEVICE float shuffle_xor(float x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}
LEADLINE_DEVICE float* shared_floats() {
  extern __shared__ float4 leadline_shared[];
  return reinterpret_cast<float*>(leadline_shared);
}
LEADLINE_DEVICE float fused(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
LEADLINE_DEVICE float reciprocal_root(float x) {
  return __fdiv_rn(1.0f, __fsqrt_rn(x));
}
LEADLINE_DEVICE float exponential(float x) {
  return expf(x);
}
LEADLINE_DEVICE float logarithm(float x) {
  return logf(x);
}
LEADLINE_DEVICE double logarithm(double x) {
  return log(x);
}
LEADLINE_DEVICE double round_down(double x) {
  return floor(x);
}
LEADLINE_DEVICE float larger(float a, float b) {
  return a > b ? a : b;
}
LEADLINE_DEVICE std::uint16_t to_bf16(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}
LEADLINE_DEVICE std::uint16_t to_f16(float x) {
  return __half_as_ushort(__float2half_rn(x));
}
LEADLINE_DEVICE float from_f16(std::uint16_t x) {
  return __half2float(__ushort_as_half(x));
}
LEADLINE_DEVICE float bits_to_float(std::uint32_t x) {
  return __uint_as_float(x);
}
LEADLINE_DEVICE std::uint32_t float_to_bits(float x) {
  return __float_as_uint(x);
}
LEADLINE_DEVICE float round_even(float x) {
  return rintf(x);
}
// c += a b^T on the matrix units, by a warp: a (16, 16), b (8, 16), c (16, 8), bf16 into f32, laid out over
// lanes as PTX's mma.m16n8k16 has it.
LEADLINE_DEVICE void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
LEADLINE_DEVICE float minus_infinity() {
  return -__int_as_float(0x7f800000);
}
}  // namespace leadline::worker::cuda
#else
#include "worker/backend/cuda/emulator/fiber_block.h"
#endif

namespace leadline::worker::cuda {

LEADLINE_DEVICE float from_bf16(std::uint16_t x) {
  return bits_to_float(static_cast<std::uint32_t>(x) << 16);
}

// e4m3 (4 exponent bits of bias 7, no infinity): its bits are those of a half whose exponent is 8 too small.
LEADLINE_DEVICE float from_fp8(std::uint8_t x) {
  const auto half = static_cast<std::uint16_t>(((x & 0x80u) << 8) | ((x & 0x7fu) << 7));
  return (x & 0x7fu) == 0x7fu ? bits_to_float(0x7fc00000u) : from_f16(half) * 256.0f;
}

// Nearest, ties to even; beyond 448 saturates; NaN stays NaN.
LEADLINE_DEVICE std::uint8_t to_fp8(float x) {
  const std::uint32_t bits = float_to_bits(x);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint8_t>(sign | 0x7fu);
  if (magnitude >= 0x43e80000u) return static_cast<std::uint8_t>(sign | 0x7eu);  // 464 and above: 448
  if (magnitude < 0x3c800000u) {                                                 // below 2^-6: steps of 2^-9
    const float steps = round_even(bits_to_float(magnitude) * 512.0f);
    return static_cast<std::uint8_t>(sign | static_cast<std::uint8_t>(steps));
  }
  const std::uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  return static_cast<std::uint8_t>(sign | (((rounded >> 20) - (120u << 3)) & 0x7fu));
}

LEADLINE_DEVICE float widen(const void* data, std::int64_t at, std::int32_t format) {
  if (format == kF32) return static_cast<const float*>(data)[at];
  const std::uint16_t x = static_cast<const std::uint16_t*>(data)[at];
  return format == kBf16 ? from_bf16(x) : from_f16(x);
}

// Sum over the block in one fixed order: a butterfly in each warp, then the warps in ascending order. Every
// thread gets it. `scratch`: 32 floats of shared memory; ends with a barrier.
LEADLINE_DEVICE float warp_sum(float x) {
  for (int mask = 16; mask > 0; mask >>= 1) x += shuffle_xor(x, mask);
  return x;
}
LEADLINE_DEVICE float warp_max(float x) {
  for (int mask = 16; mask > 0; mask >>= 1) x = larger(x, shuffle_xor(x, mask));
  return x;
}
LEADLINE_DEVICE float block_sum(float x, float* scratch, int threads) {
  x = warp_sum(x);
  if (thread_index() % 32 == 0) scratch[thread_index() / 32] = x;
  block_barrier();
  float total = 0;
  for (int w = 0; w < threads / 32; ++w) total += scratch[w];
  block_barrier();
  return total;
}

}  // namespace leadline::worker::cuda
