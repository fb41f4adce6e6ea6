// CpuBackend's ops on paged KV: rotate and write, attend. (cpu_backend.cpp has the rest.)

#include <algorithm>

#include "monitoring/check.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace leadline::worker::cpu {

namespace {

constexpr int kMaxHeadDim = 1024;

std::int64_t slots_before(const SequenceRows& s, std::int32_t head) {
  return s.kv.head_lengths ? std::int64_t{s.kv.head_lengths[head]} : std::int64_t{s.kv_before};
}

void check_shape(const AttentionShape& shape, std::int64_t qkv_columns, const CpuKvPool& pool) {
  LEADLINE_CHECK(shape.kv_heads > 0 && shape.query_heads % shape.kv_heads == 0, "heads do not divide");
  LEADLINE_CHECK(shape.head_dim == pool.layout().head_dim, "the pool is for another head_dim");
  LEADLINE_CHECK(qkv_columns == std::int64_t{shape.query_heads + 2 * shape.kv_heads} * shape.head_dim,
                 "qkv columns");
}

// Writes one slot of K (column of the transposed keys) and V.
struct SlotWriter {
  const CpuKernels& kernels;
  const UnitLayout& layout;

  void write(const float* k, const float* v, std::int64_t slot, std::uint8_t* unit) const {
    alignas(64) std::uint8_t narrow[kMaxHeadDim * sizeof(float)];
    const int size = layout.format == kF32 ? 4 : 2, dim = layout.head_dim;
    if (layout.format == kI8) {
      auto* scales = reinterpret_cast<float*>(unit + layout.scale_offset) + slot;
      kernels.quantize_slot(k, dim, narrow, scales);
      scatter(narrow, slot, unit);
      return kernels.quantize_slot(v, dim, unit + layout.v_offset + slot * layout.padded_dim,
                                   scales + kPageSlots);
    }
    kernels.narrow(k, layout.format, dim, narrow);
    if (size == 4)
      scatter(reinterpret_cast<const float*>(narrow), slot, reinterpret_cast<float*>(unit));
    else
      scatter(reinterpret_cast<const std::uint16_t*>(narrow), slot, reinterpret_cast<std::uint16_t*>(unit));
    kernels.narrow(v, layout.format, dim, unit + layout.v_offset + slot * layout.padded_dim * size);
  }
  template <typename T>
  void scatter(const T* k, std::int64_t slot, T* keys) const {
    for (int d = 0; d < layout.head_dim; ++d) keys[d * kPageSlots + slot] = k[d];
  }
};

}  // namespace

void CpuBackend::rope_write_kv(FloatMatrix qkv, const AttentionShape& shape, const RopeTable& rope,
                               const HeadNorm& norm, std::span<const SequenceRows> sequences, KvPool& pool) {
  const auto& kv = static_cast<CpuKvPool&>(pool);
  check_shape(shape, qkv.cols, kv);
  const std::int64_t dim = shape.head_dim, half = dim / 2;
  auto one_row = [&](const SequenceRows& s, std::int32_t i) {
    float* row = qkv.row(s.first_row + i);
    const std::int64_t position = std::int64_t{s.first_position} + i;
    LEADLINE_CHECK(position >= 0 && position < rope.max_positions, "position outside the rope table");
    for (std::int32_t h = 0; h < shape.query_heads + shape.kv_heads; ++h) {
      float* head = row + h * dim;
      const float* weight = h < shape.query_heads ? norm.q : norm.k;
      if (weight) kernels_.rms_norm(head, weight, dim, norm.eps, head);
      kernels_.rotate(head, rope.cos + position * half, rope.sin + position * half, half);
    }
    const float* k = row + shape.query_heads * dim;
    for (std::int32_t h = 0; h < shape.kv_heads; ++h, k += dim) {
      const std::int64_t slot = slots_before(s, h) + i;
      const std::uint32_t unit =
          s.kv.unit(static_cast<std::uint32_t>(h), static_cast<std::uint32_t>(slot / kPageSlots));
      LEADLINE_CHECK(unit < kv.units(), "KV unit outside the pool");
      SlotWriter{kernels_, kv.layout()}.write(k, k + shape.kv_heads * dim, slot % kPageSlots, kv.unit(unit));
    }
  };
  std::int64_t rows = 0;
  for (const SequenceRows& s : sequences) rows += s.rows;
  auto range = [&](int, std::int64_t begin, std::int64_t end) {
    std::int64_t first = 0;  // of the sequence at hand, counted over the sequences
    for (const SequenceRows& s : sequences) {
      const std::int64_t from = std::max(begin, first), to = std::min(end, first + s.rows);
      for (std::int64_t r = from; r < to; ++r) one_row(s, static_cast<std::int32_t>(r - first));
      first += s.rows;
    }
  };
  if (rows * qkv.cols < 16384) return range(0, 0, rows);
  pool_.run(rows, range);
}

struct CpuBackend::AttentionCall {
  ConstFloatMatrix qkv;
  const AttentionShape& shape;
  std::span<const SequenceRows> sequences;
  const CpuKvPool& pool;
  FloatMatrix out;
  std::span<float> lse;
  const AttentionPlan& plan;
  std::int64_t state_floats;  // of one tile: kAttentionTile vectors
};

void CpuBackend::finish(const AttentionCall& call, const AttentionTile& tile, const float* states) {
  const SequenceRows& s = call.sequences[static_cast<std::size_t>(tile.sequence)];
  const std::int64_t stride = attention_state_floats(call.pool.layout().padded_dim);
  for (std::int32_t r = 0; r < tile.rows; ++r) {
    const std::int64_t row = s.first_row + tile.first_row + r;
    for (std::int32_t h = 0; h < tile.heads; ++h) {
      const std::int64_t head = tile.first_head + h;
      float* lse = call.lse.empty() ? nullptr : call.lse.data() + row * call.shape.query_heads + head;
      kernels_.attention_finish(states + (r * tile.heads + h) * stride, call.shape.head_dim,
                                call.out.row(row) + head * call.shape.head_dim, lse);
    }
  }
}

void CpuBackend::attend(const AttentionCall& call, const AttentionItem& item, float* scratch) {
  const AttentionTile& tile = call.plan.tiles[static_cast<std::size_t>(item.tile)];
  const SequenceRows& s = call.sequences[static_cast<std::size_t>(tile.sequence)];
  const auto head = static_cast<std::uint32_t>(tile.kv_head);
  AttentionTask task = {};
  task.q = call.qkv.row(s.first_row + tile.first_row) + std::int64_t{tile.first_head} * call.shape.head_dim;
  task.q_stride = call.qkv.row_stride;
  task.rows = tile.rows;
  task.heads = tile.heads;
  task.scale = call.shape.scale;
  task.layout = call.pool.layout();
  task.pool = call.pool.base();
  task.table = s.kv.table + std::size_t{head} * s.kv.head_stride;
  task.unit_scale = s.kv.scale;
  task.unit_base = s.kv.base + head * s.kv.head_step;
  task.per_page = call.pool.per_page();
  task.valid = s.kv.valid ? s.kv.valid + std::size_t{head} * s.kv.head_stride : nullptr;
  task.bias = s.kv.slot_bias ? s.kv.slot_bias[head] : nullptr;
  task.before = slots_before(s, tile.kv_head);
  task.first = tile.first_row;
  task.window = call.shape.window;
  task.split_begin = item.split_begin;
  task.split_end = item.split_end;
  task.state = tile.partial < 0
                   ? scratch
                   : partial_states_.floats() +
                         (tile.partial + item.split_begin - tile.split_begin) * call.state_floats;
  task.scratch = scratch + call.state_floats;
  kernels_.attention(task);
  if (tile.partial < 0) finish(call, tile, scratch);
}

void CpuBackend::attention(ConstFloatMatrix qkv, const AttentionShape& shape,
                           std::span<const SequenceRows> sequences, const KvPool& pool, FloatMatrix out,
                           std::span<float> lse) {
  const auto& kv = static_cast<const CpuKvPool&>(pool);
  check_shape(shape, qkv.cols, kv);
  LEADLINE_CHECK(out.cols == std::int64_t{shape.query_heads} * shape.head_dim, "attention: output columns");
  LEADLINE_CHECK(lse.empty() || static_cast<std::int64_t>(lse.size()) == out.rows * shape.query_heads,
                 "attention: lse");
  const int padded = kv.layout().padded_dim;
  const AttentionPlan plan = plan_attention(shape, sequences, pool_.threads());
  const std::int64_t state_floats = kAttentionTile * attention_state_floats(padded);
  const std::int64_t thread_floats = state_floats + attention_scratch_floats(padded);
  float* scratch = grow(attention_scratch_, pool_.threads() * thread_floats, "attention scratch");
  if (plan.partial_states > 0) grow(partial_states_, plan.partial_states * state_floats, "attention splits");
  const AttentionCall call{qkv, shape, sequences, kv, out, lse, plan, state_floats};
  pool_.run(pool_.threads(), [&](int thread, std::int64_t, std::int64_t) {
    const auto t = static_cast<std::size_t>(thread);
    for (std::int64_t i = plan.share[t]; i < plan.share[t + 1]; ++i)
      attend(call, plan.items[static_cast<std::size_t>(i)], scratch + thread * thread_floats);
  });
  if (plan.partial_states == 0) return;
  pool_.run(static_cast<std::int64_t>(plan.tiles.size()), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) join(call, plan.tiles[static_cast<std::size_t>(i)]);
  });
}

// A tile's stored splits, in ascending order.
void CpuBackend::join(const AttentionCall& call, const AttentionTile& tile) {
  if (tile.partial < 0) return;
  const int padded = call.pool.layout().padded_dim;
  const std::int64_t stride = attention_state_floats(padded);
  float* first = partial_states_.floats() + tile.partial * call.state_floats;
  for (std::int64_t split = 1; split < tile.split_end - tile.split_begin; ++split) {
    for (int j = 0; j < tile.rows * tile.heads; ++j)
      kernels_.attention_merge(first + j * stride, first + split * call.state_floats + j * stride, padded);
  }
  finish(call, tile, first);
}

}  // namespace leadline::worker::cpu
