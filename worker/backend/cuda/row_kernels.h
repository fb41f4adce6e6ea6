#pragma once
// Device code of the row-wise ops: embedding, norm, casts into products, slice trees, SiLU, gathers, int4
// products, features of logits. Not launched from here (kernel_list.h, kernel_select). A block works on one
// row, or one row and a stretch of columns; no sum crosses blocks and nothing is atomic, so a row's bits
// depend on that row only (X1).

#include "worker/backend/cuda/device_code.h"

namespace leadline::worker::cuda {

// Grid of all of these, unless said otherwise: x over rows, y over stretches of kRowThreads columns.
LEADLINE_DEVICE std::int64_t column() {
  return static_cast<std::int64_t>(block_y()) * kRowThreads + thread_index();
}

LEADLINE_DEVICE void embed_rows(const EmbedArgs& a) {
  const std::int64_t row = block_x(), c = column();
  if (c >= a.cols) return;
  a.out[row * a.out_stride + c] = widen(a.table, a.ids[row] * a.table_stride + c, a.format);
}

// Grid: x over rows.
LEADLINE_DEVICE void rms_norm_row(const RmsNormArgs& a) {
  const float* x = a.x + static_cast<std::int64_t>(block_x()) * a.x_stride;
  float* out = a.out + static_cast<std::int64_t>(block_x()) * a.out_stride;
  float squares = 0;
  for (std::int64_t c = thread_index(); c < a.cols; c += kRowThreads) squares = fused(x[c], x[c], squares);
  const float total = block_sum(squares, shared_floats(), kRowThreads);
  const float scale = reciprocal_root(total / static_cast<float>(a.cols) + a.eps);
  for (std::int64_t c = thread_index(); c < a.cols; c += kRowThreads) out[c] = x[c] * scale * a.weight[c];
}

// fp8 rows share one scale, so this kernel takes a whole row: grid x over rows.
LEADLINE_DEVICE void cast_rows(const CastArgs& a) {
  const std::int64_t row = block_x(), all = a.padded * a.slices;
  const float* x = a.x + row * a.x_stride;
  float inverse = 1.0f;
  if (a.format == kFp8) {
    float top = 0;
    for (std::int64_t c = thread_index(); c < a.width * a.slices; c += kRowThreads)
      top = larger(x[c] < 0 ? -x[c] : x[c], top);
    float* scratch = shared_floats();
    top = warp_max(top);
    if (thread_index() % 32 == 0) scratch[thread_index() / 32] = top;
    block_barrier();
    for (int w = 0; w < kRowThreads / 32; ++w) top = larger(scratch[w], top);
    const float scale = top > 0 ? top / 448.0f : 1.0f;
    inverse = 1.0f / scale;
    if (thread_index() == 0) a.scales[row] = scale;
  }
  for (std::int64_t c = thread_index(); c < all; c += kRowThreads) {
    const std::int64_t slice = c / a.padded, in_slice = c % a.padded;
    const float v = in_slice < a.width ? x[slice * a.width + in_slice] : 0.0f;
    const std::int64_t to = (slice * a.rows + row) * a.padded + in_slice;
    if (a.format == kF32)
      static_cast<float*>(a.out)[to] = v;
    else if (a.format == kBf16)
      static_cast<std::uint16_t*>(a.out)[to] = to_bf16(v);
    else if (a.format == kF16)
      static_cast<std::uint16_t*>(a.out)[to] = to_f16(v);
    else
      static_cast<std::uint8_t*>(a.out)[to] = to_fp8(v * inverse);
  }
}

// The tree over `count` equal neighbours: pairs first, then pairs of pairs; a remainder joins from the right.
LEADLINE_DEVICE float tree_of(const float* parts, std::int32_t count, std::int64_t stride) {
  float levels[8];
  int depth = 0;
  for (std::int32_t i = 0; i < count; ++i) {
    levels[depth++] = parts[i * stride];
    for (std::int32_t done = i + 1; (done & 1) == 0; done >>= 1) {
      levels[depth - 2] = levels[depth - 2] + levels[depth - 1];
      --depth;
    }
  }
  float sum = levels[depth - 1];
  for (int d = depth - 2; d >= 0; --d) sum = levels[d] + sum;
  return sum;
}

LEADLINE_DEVICE void tree_sum_rows(const TreeSumArgs& a) {
  const std::int64_t row = block_x(), c = column();
  if (c >= a.cols) return;
  float sum = tree_of(a.parts + row * a.cols + c, a.count, a.rows * a.cols);
  if (a.bias != nullptr) sum += a.bias[c];
  float* out = a.out + row * a.out_stride + c;
  *out = a.add != 0 ? *out + sum : sum;
}

LEADLINE_DEVICE void epilogue_rows(const EpilogueArgs& a) {
  const std::int64_t row = block_x(), c = column();
  if (c >= a.cols) return;
  float* out = a.out + row * a.out_stride + c;
  float x = *out;
  if (a.row_scale != nullptr) x *= a.row_scale[row];
  if (a.column_scale != nullptr) x *= a.column_scale[c];
  if (a.bias != nullptr) x += a.bias[c];
  *out = x;
}

LEADLINE_DEVICE void silu_mul_rows(const SiluMulArgs& a) {
  const std::int64_t row = block_x(), c = column();
  if (c >= a.cols) return;
  const float gate = a.gate_up[row * a.in_stride + c], up = a.gate_up[row * a.in_stride + a.cols + c];
  a.out[row * a.out_stride + c] = gate / (1.0f + exponential(-gate)) * up;
}

LEADLINE_DEVICE void gather_rows_of(const GatherRowsArgs& a) {
  const std::int64_t row = block_x(), c = column();
  if (c >= a.cols) return;
  const std::int64_t from = a.ids != nullptr ? a.ids[row] : row, to = a.to != nullptr ? a.to[row] : row;
  a.out[to * a.out_stride + c] = a.x[from * a.x_stride + c];
}

// out[slice, row, n] = x . dequantised weights. Grid: x over N / 4 (a warp per output), y over rows, z over
// slices; a lane takes k = 8 lane + 256 i, ascending, then a butterfly: bits do not depend on the number of
// rows.
LEADLINE_DEVICE void int4_product(const Int4ProductArgs& a) {
  const std::int64_t n = static_cast<std::int64_t>(block_x()) * 4 + thread_index() / 32;
  const std::int64_t row = block_y(), slice = block_z();
  const bool there = n < a.n;
  const std::int64_t at = slice * a.n + (there ? n : 0);
  const std::uint8_t* w = a.weights + at * (a.padded / 2);
  const float* scales = a.scales + at * (a.padded / kInt4Group);
  const float* x = a.x + row * a.x_stride + slice * a.width;
  float sum = 0;
  for (std::int64_t k = (thread_index() % 32) * 8; k < a.padded; k += 256) {
    const std::uint32_t eight = *reinterpret_cast<const std::uint32_t*>(w + k / 2);
    float part = 0;
    for (int i = 0; i < 8; ++i) {
      const float v = k + i < a.width ? x[k + i] : 0.0f;
      part = fused(static_cast<float>(static_cast<int>((eight >> (4 * i)) & 15u) - 8), v, part);
    }
    sum = fused(part, scales[k / kInt4Group], sum);
  }
  sum = warp_sum(sum);
  if (there && thread_index() % 32 == 0) a.out[(slice * a.rows + row) * a.n + n] = sum;
}

// Grid: x over elements.
LEADLINE_DEVICE void widen_weights(const WidenWeightsArgs& a) {
  const std::int64_t i = static_cast<std::int64_t>(block_x()) * kRowThreads + thread_index();
  if (i >= a.count) return;
  float v;
  if (a.format == kI4) {
    const int nibble = (a.weights[i / 2] >> (4 * (i % 2))) & 15;
    v = static_cast<float>(nibble - 8) * a.scales[i / kInt4Group];
  } else {
    v = from_fp8(a.weights[i]);  // its column's scale follows the product
  }
  static_cast<std::uint16_t*>(a.out)[i] = to_bf16(v);
}

// The larger value wins; of equal ones the smaller id.
LEADLINE_DEVICE bool goes_before(float a, std::int32_t a_id, float b, std::int32_t b_id) {
  return a > b || (a == b && a_id < b_id);
}

// Grid: x over rows. Two passes: the top kFeatureTop (each thread its own, then thread 0 joins them), the
// sums.
LEADLINE_DEVICE void logit_features(const FeaturesArgs& a) {
  const float* x = a.logits + static_cast<std::int64_t>(block_x()) * a.stride;
  float* scratch = shared_floats();  // 32, then (threads, kFeatureTop) values and as many ids
  float* tops = scratch + 32 + thread_index() * 2 * kFeatureTop;
  float best[kFeatureTop];
  std::int32_t ids[kFeatureTop];
  for (int k = 0; k < kFeatureTop; ++k) best[k] = minus_infinity(), ids[k] = 0x7fffffff;
  for (std::int32_t i = thread_index(); i < a.vocab; i += kRowThreads) {
    float v = x[i];
    std::int32_t id = i;
    for (int k = 0; k < kFeatureTop; ++k) {
      if (!goes_before(v, id, best[k], ids[k])) continue;
      const float lower = best[k];
      const std::int32_t lower_id = ids[k];
      best[k] = v, ids[k] = id, v = lower, id = lower_id;
    }
  }
  for (int k = 0; k < kFeatureTop; ++k)
    tops[k] = best[k], tops[kFeatureTop + k] = bits_to_float(std::uint32_t(ids[k]));
  block_barrier();
  if (thread_index() == 0) {
    for (int t = 1; t < kRowThreads; ++t) {
      const float* other = tops + t * 2 * kFeatureTop;
      for (int j = 0; j < kFeatureTop; ++j) {
        float v = other[j];
        auto id = std::int32_t(float_to_bits(other[kFeatureTop + j]));
        for (int k = 0; k < kFeatureTop; ++k) {
          if (!goes_before(v, id, best[k], ids[k])) continue;
          const float lower = best[k];
          const std::int32_t lower_id = ids[k];
          best[k] = v, ids[k] = id, v = lower, id = lower_id;
        }
      }
    }
    scratch[0] = best[0];
  }
  block_barrier();
  const float top = scratch[0];
  block_barrier();
  float sum = 0, weighted = 0;
  for (std::int32_t i = thread_index(); i < a.vocab; i += kRowThreads) {
    if (x[i] == minus_infinity()) continue;
    const float p = exponential(x[i] - top);
    sum += p;
    weighted = fused(p, x[i] - top, weighted);
  }
  sum = block_sum(sum, scratch, kRowThreads);
  weighted = block_sum(weighted, scratch, kRowThreads);
  if (thread_index() != 0) return;
  LogitFeatures& out = a.out[block_x()];
  out.log_sum = top + logarithm(sum);
  out.entropy = logarithm(sum) - weighted / sum;
  for (int k = 0; k < kFeatureTop; ++k) out.top[k] = best[k], out.ids[k] = ids[k];
}

}  // namespace leadline::worker::cuda
