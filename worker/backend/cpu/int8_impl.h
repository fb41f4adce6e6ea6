#pragma once
// Products with int8 and int4 weights: activations quantised per (row, group), exact integer sums within a
// group, groups joined by fused multiply-adds in order. Over a per-ISA vector type V; included by the kernel
// translation units (unnamed namespace: see vector_scalar.h). Not the quantisation of weights
// (packed_weights.cpp). Invariants: those of linear_impl.h; as the integer sums are exact, every V gives the
// same bits by construction.

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/elementwise_impl.h"
#include "worker/backend/cpu/linear_impl.h"

namespace leadline::worker::cpu {
namespace {

// dots[r][v] += row r's words with the bytes of one vector of outputs.
template <class V, int kRows, int kVectors>
static inline void add_dots(typename V::I (&dots)[kRows][kVectors], int v, const typename V::Bytes& w,
                            const int32_t* words) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) dots[r][v] = V::dot4(dots[r][v], w, words[r]);
}

// sums[kRows][kVectors] += the products of one group, kVectors vectors of the panel from output 16 * first
// on.
template <class V, int kFormat, int kRows, int kVectors>
static inline __attribute__((always_inline)) void int8_group(const uint8_t* x, const uint8_t* w, int first,
                                                             typename V::F (&sums)[kRows][kVectors]) {
  const typename V::Bytes book = V::codebook();
  const auto* words = reinterpret_cast<const int32_t*>(x);
  const auto* scales = reinterpret_cast<const float*>(words + kRows * kGroup / 4);
  const auto* offsets = reinterpret_cast<const int32_t*>(scales + kRows);
  typename V::I dots[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) dots[r][v] = V::set1_int(offsets[r]);
  // More rows take more time a line, and fewer lines of the loop are in flight at once.
  constexpr int kAhead = kRows > 1 ? 2 * kPrefetchBytes : kPrefetchBytes;
  constexpr int kSteps = kFormat == kI4 ? kGroup / 8 : kGroup / 4;
#pragma GCC unroll 1
  for (int k = 0; k < kSteps; ++k) {
    const uint8_t* row = w + k * kPanel * 4 + first * 64;
    fetch_line(row + kAhead);
    if constexpr (kVectors > 1) fetch_line(row + kAhead + 64);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const typename V::Bytes bytes = V::load_bytes(row + v * 64);
      if constexpr (kFormat == kI4) {
        add_dots<V>(dots, v, V::low_values(book, bytes), words + k * kRows);
        add_dots<V>(dots, v, V::high_values(book, bytes), words + (k + kSteps) * kRows);
      } else {
        add_dots<V>(dots, v, bytes, words + k * kRows);
      }
    }
  }
  const auto* weight_scales =
      reinterpret_cast<const uint16_t*>(w + group_block(kFormat) - 2 * kPanel) + first * 16;
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    const typename V::F scale = V::load_bf16(weight_scales + v * 16);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      sums[r][v] = V::fma(V::from_int(dots[r][v]), V::mul(V::set1(scales[r]), scale), sums[r][v]);
  }
}

// acc[kRows][kPanel] += the products of `groups` groups, kVectors vectors of the panel from output 16 * first
// on.
template <class V, int kFormat, int kRows, int kVectors>
void int8_tile(int64_t groups, const uint8_t* x, const uint8_t* w, int first, float* acc) {
  typename V::F sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::load(acc + r * kPanel + v * 16);
  for (int64_t g = 0; g < groups; ++g, x += kRows * kInt8RowBytes, w += group_block(kFormat))
    int8_group<V, kFormat, kRows, kVectors>(x, w, first, sums);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) V::store(acc + r * kPanel + v * 16, sums[r][v]);
}

// acc[2][kPanel] += the products of one row with two panels, `apart` bytes from each other. The row walks
// through the first cache beside the weights and is pushed out by them: with two panels it comes half as
// often.
template <class V, int kFormat>
void int8_panel_pair(int64_t groups, const uint8_t* x, const uint8_t* w, int64_t apart, float* acc) {
  typename V::F left[1][2] = {{V::load(acc), V::load(acc + 16)}};
  typename V::F right[1][2] = {{V::load(acc + kPanel), V::load(acc + kPanel + 16)}};
  for (int64_t g = 0; g < groups; ++g, x += kInt8RowBytes, w += group_block(kFormat)) {
    int8_group<V, kFormat, 1, 2>(x, w, 0, left);
    int8_group<V, kFormat, 1, 2>(x, w + apart, 0, right);
  }
  for (int v = 0; v < 2; ++v) {
    V::store(acc + v * 16, left[0][v]);
    V::store(acc + kPanel + v * 16, right[0][v]);
  }
}

template <class V, int kFormat, int kMaxRows, int kRows = 1>
static inline void int8_rows(int rows, int64_t groups, const uint8_t* x, const uint8_t* w, float* acc) {
  if constexpr (kRows < kMaxRows) {
    if (rows != kRows) return int8_rows<V, kFormat, kMaxRows, kRows + 1>(rows, groups, x, w, acc);
  }
  for (int v = 0; v < kPanel / 16; v += V::kIntVectors)
    int8_tile<V, kFormat, kRows, V::kIntVectors>(groups, x, w, v, acc + v * 16);
}

// Groups of more than V::kWordRows rows are for matrix tiles (int8_tiles_impl.h).
template <class V, int kFormat>
struct IntegerGroups {
  static constexpr int64_t kBlock = group_block(kFormat), kRowBytes = kInt8RowBytes, kTogether = kInt8Groups;
  static int64_t steps(int64_t k, int slices) { return int8_groups(k, slices); }
  static void rows(int count, int64_t groups, const uint8_t* x, const uint8_t* w, float* acc) {
    int8_rows<V, kFormat, V::kWordRows>(count, groups, x, w, acc);
  }
};

// One row, panels two by two (for more rows it gains nothing); returns the first panel that is left.
template <class V, int kFormat>
int64_t linear_panel_pairs(const LinearTask& t) {
  const int64_t all = int8_groups(t.k, t.slices), step = all / t.slices,
                panel_bytes = all * group_block(kFormat);
  int64_t panel = t.panel_begin;
  for (; panel + 2 <= t.panel_end; panel += 2) {
    const uint8_t* w = static_cast<const uint8_t*>(t.weights) + panel * panel_bytes;
    SliceTree<V> tree{t.scratch, int64_t{2} * kPanel};
    for (int s = 0; s < t.slices; ++s) {
      int8_panel_pair<V, kFormat>(step, static_cast<const uint8_t*>(t.x) + s * step * kInt8RowBytes,
                                  w + s * step * group_block(kFormat), panel_bytes, tree.next());
      tree.done(s);
    }
    const float* sums = tree.root();
    write_panel<V>(t, panel, 0, 1, sums);
    write_panel<V>(t, panel + 1, 0, 1, sums + kPanel);
  }
  return panel;
}

template <class V, int kFormat>
void linear_groups(const LinearTask& t) {
  LinearTask left = t;
  if constexpr (V::kIntVectors == 2) {
    if (t.rows == 1) left.panel_begin = linear_panel_pairs<V, kFormat>(t);
  }
  linear_by_steps<V, IntegerGroups<V, kFormat>>(left);
}

// One group of one row: scale = largest / 127, bytes rounded to nearest even. A NaN makes the scale NaN, so
// that it stays visible.
template <class V>
void quantize_values(const float* x, int count, uint8_t* bytes, float* scale, int32_t* offset) {
  typename V::F values[kGroup / 16];
  auto largest = V::zero(), poison = V::zero();
#pragma GCC unroll 4
  for (int i = 0; i < kGroup / 16; ++i) {
    const int left = count - 16 * i, lanes = left < 0 ? 0 : left < 16 ? left : 16;
    values[i] = lanes == 16 ? V::load(x + 16 * i) : lanes > 0 ? V::load_n(x + 16 * i, lanes) : V::zero();
    largest = V::max(largest, V::max(values[i], V::sub(V::zero(), values[i])));
    poison = V::fma(values[i], V::zero(), poison);
  }
  const float top = V::max_of(largest);
  *scale = top / 127.0f + V::sum(poison);
  const auto inverse = V::set1(top > 0 ? 127.0f / top : 0.0f), magic = V::set1(12582912.0f);
  auto total = V::zero();  // of integers below 2^13: exact
#pragma GCC unroll 4
  for (int i = 0; i < kGroup / 16; ++i) {
    const auto scaled = V::min(V::set1(127.0f), V::max(V::set1(-127.0f), V::mul(values[i], inverse)));
    const auto shifted = V::add(scaled, magic);  // rounds; the integer is in the low bits
    V::store_low_bytes(bytes + 16 * i, shifted);
    total = V::add(total, V::sub(shifted, magic));
  }
  const float sum = V::sum(total);
  *offset = sum == sum ? -128 * int32_t(sum) : 0;
}

template <class V>
void quantize_group(const float* x, int64_t row_stride, int rows, int64_t k, int slices, void* packed) {
  const int64_t slice = k / slices;
  auto* out = static_cast<uint8_t*>(packed);
  for (int s = 0; s < slices; ++s) {
    for (int64_t begin = 0; begin < slice; begin += kGroup, out += rows * kInt8RowBytes) {
      const int count = slice - begin < kGroup ? int(slice - begin) : kGroup;
      auto* words = reinterpret_cast<uint32_t*>(out);
      auto* scales = reinterpret_cast<float*>(words + rows * kGroup / 4);
      auto* offsets = reinterpret_cast<int32_t*>(scales + rows);
      for (int r = 0; r < rows; ++r) {
        uint8_t bytes[kGroup];
        quantize_values<V>(x + r * row_stride + s * slice + begin, count, bytes, scales + r, offsets + r);
        if (V::kTiles && rows > V::kWordRows) {
          __builtin_memcpy(out + r * kGroup, bytes, kGroup);
        } else {
          for (int q = 0; q < kGroup / 4; ++q) __builtin_memcpy(words + q * rows + r, bytes + 4 * q, 4);
        }
      }
    }
  }
}

}  // namespace
}  // namespace leadline::worker::cpu
