// CudaBackend's ops on paged KV: rotate and write, attend, move units. (cuda_backend.cpp has the rest.)

#include <algorithm>

#include "monitoring/check.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/backend/cuda/cuda_memory.h"

namespace leadline::worker::cuda {

namespace {

void check_shape(const AttentionShape& shape, std::int64_t qkv_columns, const CudaKvPool& pool) {
  LEADLINE_CHECK(shape.kv_heads > 0 && shape.query_heads % shape.kv_heads == 0, "heads do not divide");
  LEADLINE_CHECK(shape.head_dim == pool.head_dim(), "the pool is for another head_dim");
  LEADLINE_CHECK(qkv_columns == std::int64_t{shape.query_heads + 2 * shape.kv_heads} * shape.head_dim,
                 "qkv columns");
}

// Every unit that a call may touch must exist: a table is a decision of ours, so this is a check, not an
// error.
void check_units(std::span<const SequenceRows> sequences, const AttentionShape& shape,
                 const CudaKvPool& pool) {
  for (const SequenceRows& s : sequences) {
    for (std::int32_t h = 0; h < shape.kv_heads; ++h) {
      const std::int64_t slots = (s.kv.head_lengths != nullptr ? s.kv.head_lengths[h] : s.kv_before) + s.rows;
      for (std::int64_t page = 0; page * kPageSlots < slots; ++page)
        LEADLINE_CHECK(
            s.kv.unit(static_cast<std::uint32_t>(h), static_cast<std::uint32_t>(page)) < pool.units(),
            "KV unit outside the pool");
    }
  }
}

}  // namespace

CudaBackend::Located CudaBackend::locate(std::span<const SequenceRows> sequences, const AttentionShape& shape,
                                         const CudaKvPool& pool) {
  const TileShape heads{
      shape.kv_heads, shape.query_heads / shape.kv_heads,
      prefill_kernel(static_cast<std::int32_t>(pool.dtype()), shape.head_dim) != KernelId::count};
  const auto same = [&](std::span<const SequenceRows> known) {
    return sequences.data() == known.data() && sequences.size() == known.size();
  };
  const bool of_step = in_step_ && step_.same_tables && same(step_.sequences);
  StepLayout layout;
  std::uint32_t shift = 0;
  if (of_step && tables_known_ && heads == step_shape_) {
    layout = layout_;
    shift = base_shift(sequences, layout, step_tables_.words());
  } else if (in_step_ && heads == layer_shape_ && same(layer_sequences_) &&
             only_bases_moved(sequences, layer_layout_, step_tables_.words())) {
    layout = layer_layout_;
    shift = base_shift(sequences, layout, step_tables_.words());
  } else {
    LEADLINE_CHECK(!capturing_, "a recorded step attends to its own sequences");
    StepRows rows;
    rows.sequences = sequences;
    if (of_step) rows = step_;
    layout = step_tables_.build(rows, heads);
    send_tables();
    layer_sequences_ = {};
    step_on_device_ = of_step;
    if (of_step) {  // the first layer of the first step: from now on begin_step knows the heads
      layout_ = layout;
      step_shape_ = heads;
      tables_known_ = true;
    } else {
      tables_known_ = false;  // the step's own image is gone
      if (in_step_) layer_sequences_ = sequences, layer_layout_ = layout, layer_shape_ = heads;
    }
  }
  const StepImage image{static_cast<const std::uint32_t*>(tables_.scratch.piece.data()), layout.rows_at,
                        layout.tiles_at, shift, layout.sequences};
  return {image, layout};
}

void CudaBackend::rope_write_kv(FloatMatrix qkv, const AttentionShape& shape, const RopeTable& rope,
                                const HeadNorm& norm, std::span<const SequenceRows> sequences, KvPool& pool) {
  const auto& kv = static_cast<CudaKvPool&>(pool);
  check_shape(shape, qkv.cols, kv);
  if (!in_step_ || !tables_known_) check_units(sequences, shape, kv);
  for (const SequenceRows& s : sequences)
    LEADLINE_CHECK(s.first_position >= 0 && s.first_position + s.rows <= rope.max_positions,
                   "position outside the rope table");
  const Located at = locate(sequences, shape, kv);
  RopeArgs args{};
  args.qkv = qkv.data;
  args.cos = rope.cos;
  args.sin = rope.sin;
  args.q_norm = norm.q;
  args.k_norm = norm.k;
  args.step = at.image;
  args.kv = kv.place();
  args.qkv_stride = qkv.row_stride;
  args.rows = static_cast<std::int32_t>(std::min<std::int64_t>(qkv.rows, at.layout.rows));
  args.query_heads = shape.query_heads;
  args.kv_heads = shape.kv_heads;
  args.head_dim = shape.head_dim;
  args.eps = norm.eps;
  args.format = static_cast<std::int32_t>(kv.dtype());
  const std::int64_t heads = shape.query_heads + 2 * shape.kv_heads;
  launch(KernelId::rope_write_kv, {args.rows, (heads + 3) / 4, 1}, args, "rope_write_kv",
         std::int64_t{4} * shape.head_dim * 4);
}

void CudaBackend::attention(ConstFloatMatrix qkv, const AttentionShape& shape,
                            std::span<const SequenceRows> sequences, const KvPool& pool, FloatMatrix out,
                            std::span<float> lse) {
  const auto& kv = static_cast<const CudaKvPool&>(pool);
  check_shape(shape, qkv.cols, kv);
  LEADLINE_CHECK(out.cols == std::int64_t{shape.query_heads} * shape.head_dim, "attention: output columns");
  LEADLINE_CHECK(lse.empty() || static_cast<std::int64_t>(lse.size()) == out.rows * shape.query_heads,
                 "attention: lse");
  const Located at = locate(sequences, shape, kv);
  poison(out);
  AttentionArgs args{};
  args.qkv = qkv.data;
  args.out = out.data;
  args.lse = lse.empty() ? nullptr : lse.data();
  args.step = at.image;
  args.kv = kv.place();
  args.qkv_stride = qkv.row_stride;
  args.out_stride = out.row_stride;
  args.query_heads = shape.query_heads;
  args.kv_heads = shape.kv_heads;
  args.head_dim = shape.head_dim;
  args.window = shape.window;
  args.max_splits = 1;
  args.scale = shape.scale;
  if (at.layout.wide_tiles > 0) {
    AttentionArgs prompts = args;
    prompts.step.tiles_at = at.layout.wide_at;
    launch(prefill_kernel(static_cast<std::int32_t>(kv.dtype()), shape.head_dim),
           {at.layout.wide_tiles, shape.kv_heads, 1}, prompts, "prefill attention",
           prefill_shared_bytes(shape.head_dim));
  }
  if (at.layout.tiles > 0)
    walk(args, at.layout, static_cast<std::int32_t>(kv.dtype()),
         std::min<std::int64_t>(out.rows, at.layout.rows));
}

void CudaBackend::walk(AttentionArgs args, const StepLayout& layout, std::int32_t page_format,
                       std::int64_t rows) {
  const std::int64_t state_bytes = rows * args.query_heads * (args.head_dim + 2) * 4;
  const SplitChoice splits = choose_splits(layout.longest_slots, std::int64_t{layout.tiles} * args.kv_heads,
                                           state_bytes, info_.multiprocessors);
  args.states = splits.stored ? static_cast<float*>(grow(states_, state_bytes * splits.max_splits)) : nullptr;
  args.max_splits = splits.max_splits;
  launch(attention_kernel(page_format, layout.widest_tile),
         {layout.tiles, args.kv_heads, splits.stored ? splits.max_splits : 1}, args, "attention",
         attention_shared_bytes(layout.widest_tile, args.head_dim));
  if (!splits.stored) return;
  MergeArgs merge{args.states,      args.out,        args.lse,
                  args.step,        args.out_stride, static_cast<std::int32_t>(rows),
                  args.query_heads, args.kv_heads,   args.head_dim,
                  args.window,      args.max_splits};
  merge.step.rows_at = layout.walked_rows_at;
  launch(KernelId::attention_merge, {rows, args.query_heads, 1}, merge, "attention merge");
}

void CudaBackend::copy_unit(KvPool& pool, std::uint32_t from, std::uint32_t to) {
  const auto& kv = static_cast<CudaKvPool&>(pool);
  LEADLINE_CHECK(from < kv.units() && to < kv.units(), "KV unit outside the pool");
  const UnitMemory memory = kv.memory();
  runtime_->copy(memory.base + std::int64_t{to} * memory.unit_bytes,
                 memory.base + std::int64_t{from} * memory.unit_bytes, memory.unit_bytes, Copy::on_device,
                 stream_.get());
}

void CudaBackend::read_unit(const KvPool& pool, std::uint32_t unit, std::byte* host) {
  read_units(pool, std::span(&unit, 1), host);
}

void CudaBackend::write_unit(KvPool& pool, std::uint32_t unit, const std::byte* host) {
  write_units(pool, std::span(&unit, 1), host);
}

void CudaBackend::read_units(const KvPool& pool, std::span<const std::uint32_t> units, std::byte* host) {
  const auto& kv = static_cast<const CudaKvPool&>(pool);
  for (const std::uint32_t unit : units) LEADLINE_CHECK(unit < kv.units(), "KV unit outside the pool");
  copier_->read(kv.memory(), units, host);
}

void CudaBackend::write_units(KvPool& pool, std::span<const std::uint32_t> units, const std::byte* host) {
  const auto& kv = static_cast<CudaKvPool&>(pool);
  for (const std::uint32_t unit : units) LEADLINE_CHECK(unit < kv.units(), "KV unit outside the pool");
  copier_->write(kv.memory(), units, host);
}

}  // namespace leadline::worker::cuda
