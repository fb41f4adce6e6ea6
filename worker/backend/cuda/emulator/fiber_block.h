#pragma once
// One block of device threads as fibers on one host thread: barriers and shuffles switch fibers. Not fast and
// not a memory model: it shows that a kernel computes what it should, never that it is free of races between
// warps (fibers switch at barriers only; compute-sanitizer is for that). Thread: a block runs on the thread
// that called run_block.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "worker/backend/cuda/kernel_args.h"

#define LEADLINE_DEVICE inline

namespace leadline::worker::cuda {

struct FiberPlace {
  int thread = 0, threads = 0, x = 0, y = 0, z = 0, grid_x = 1;
  float* shared = nullptr;
};
extern thread_local FiberPlace* fiber_place;  // of the fiber that runs

// Runs `body` once per thread of the block; `shared_bytes` are filled with NaN before.
void run_block(const FiberPlace& block, std::int64_t shared_bytes, const std::function<void()>& body);
void block_barrier();
void warp_barrier();
float shuffle_xor(float x, int mask);
// c += a b^T by a warp: a (16, 16), b (8, 16), c (16, 8), bf16 into f32, over lanes as PTX's mma.m16n8k16;
// sums in f32, ascending.
void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);

inline int thread_index() {
  return fiber_place->thread;
}
inline int block_x() {
  return fiber_place->x;
}
inline int block_y() {
  return fiber_place->y;
}
inline int block_z() {
  return fiber_place->z;
}
inline int grid_x() {
  return fiber_place->grid_x;
}
inline float* shared_floats() {
  return fiber_place->shared;
}
inline float fused(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float reciprocal_root(float x) {
  return 1.0F / std::sqrt(x);
}
inline float exponential(float x) {
  return std::exp(x);
}
inline float logarithm(float x) {
  return std::log(x);
}
inline double logarithm(double x) {
  return std::log(x);
}
inline double round_down(double x) {
  return std::floor(x);
}
inline float larger(float a, float b) {
  return a > b ? a : b;
}
inline float round_even(float x) {
  return std::nearbyint(x);
}
inline float minus_infinity() {
  return -INFINITY;
}
inline float bits_to_float(std::uint32_t x) {
  float f;
  std::memcpy(&f, &x, 4);
  return f;
}
inline std::uint32_t float_to_bits(float x) {
  std::uint32_t b;
  std::memcpy(&b, &x, 4);
  return b;
}
inline std::uint16_t to_bf16(float x) {
  const std::uint32_t b = float_to_bits(x);
  if ((b & 0x7fffffffU) > 0x7f800000U) return 0x7fff;
  return static_cast<std::uint16_t>((b + 0x7fffU + ((b >> 16) & 1U)) >> 16);
}
inline std::uint16_t to_f16(float x) {
  const auto half = static_cast<_Float16>(x);
  std::uint16_t b;
  std::memcpy(&b, &half, 2);
  return b;
}
inline float from_f16(std::uint16_t x) {
  _Float16 half;
  std::memcpy(&half, &x, 2);
  return static_cast<float>(half);
}

}  // namespace leadline::worker::cuda
