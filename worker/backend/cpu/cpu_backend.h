#pragma once
// CpuBackend: the ops of Backend as work for a thread pool over one kernel table. Not the arithmetic
// (cpu_kernels_impl.h) and not the choice of the table (cpu_dispatch). Thread: one owner; pool threads only
// inside an op. Invariants: shares are cut by outputs or rows, never along a sum, so thread count and batch
// change no bit; an op over no rows does nothing.

#include <memory>
#include <string>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/backend/cpu/cpu_attention.h"
#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/device_memory.h"
#include "worker/backend/cpu/packed_weights.h"
#include "worker/backend/cpu/thread_pool.h"

namespace leadline::worker::cpu {

class CpuBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> create(const CpuKernels& kernels, const ThreadPoolOptions& threads);

  std::string_view name() const override { return name_; }
  std::string arithmetic_id() const override;
  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes, std::string_view what) override;
  Result<std::unique_ptr<KvPool>> allocate_kv(const KvPoolShape& shape) override;
  Result<std::unique_ptr<PackedMatrix>> pack(std::span<const WeightPart> parts, DType format,
                                             int slices) override;
  Result<std::unique_ptr<PackedMatrix>> restore(const PackedShape& shape, std::int64_t bytes,
                                                const PackedReader& read) override;
  Result<std::unique_ptr<PackedMatrix>> adopt(const PackedShape& shape, const PackedBytes& stored,
                                              const PackedCheck& check) override;
  void begin_step(const StepRows&) override { pool_.hold_owner(); }
  void end_step() override { pool_.release_owner(); }
  void embed(const WeightPart& table, std::span<const std::int32_t> ids, FloatMatrix out) override;
  void rms_norm(ConstFloatMatrix x, std::span<const float> weight, float eps, FloatMatrix out) override;
  void linear(ConstFloatMatrix x, const PackedMatrix& w, std::span<const float> bias,
              FloatMatrix out) override;
  void linear_sliced(ConstFloatMatrix x, const PackedMatrix& w, FloatMatrix out) override;
  void add_partials(std::span<const float> partials, int ranks, std::span<const float> bias,
                    FloatMatrix residual) override;
  void rope_write_kv(FloatMatrix qkv, const AttentionShape& shape, const RopeTable& rope,
                     const HeadNorm& norm, std::span<const SequenceRows> sequences, KvPool& pool) override;
  void attention(ConstFloatMatrix qkv, const AttentionShape& shape, std::span<const SequenceRows> sequences,
                 const KvPool& pool, FloatMatrix out, std::span<float> lse) override;
  void silu_mul(ConstFloatMatrix gate_up, FloatMatrix out) override;
  void gather_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) override;
  void copy_unit(KvPool& pool, std::uint32_t from, std::uint32_t to) override;
  void read_unit(const KvPool& pool, std::uint32_t unit, std::byte* host) override;
  void write_unit(KvPool& pool, std::uint32_t unit, const std::byte* host) override;

 private:
  struct AttentionCall;
  struct StepPacking {  // rows packed by steps of k; see cpu_kernels.h
    void (*kernel)(const float*, std::int64_t, int, std::int64_t, int, void*) = nullptr;
    std::int64_t step = 1, row_bytes = 0, slack = 0;
  };
  struct ProductPlan {
    int group_rows = 1, direct_rows = 1;  // of one packed group; up to here weights are read once, as stored
    bool tiles = false;
    StepPacking packing;
  };

  CpuBackend(const CpuKernels& kernels, const ThreadPoolOptions& threads);
  void product(ConstFloatMatrix x, const PackedWeights& w, const float* bias, FloatMatrix out);
  const void* pack_rows(ConstFloatMatrix x, int groups);
  ProductPlan plan_product(DType format) const;
  const void* pack_steps(ConstFloatMatrix x, int groups, int slices, const StepPacking& packing);
  void run_blocked(const LinearTask& whole, std::int64_t panels, bool tiles);
  void attend(const AttentionCall& call, const AttentionItem& item, float* scratch);
  void finish(const AttentionCall& call, const AttentionTile& tile, const float* states);
  void join(const AttentionCall& call, const AttentionTile& tile);
  template <typename Body>
  void over_rows(std::int64_t rows, std::int64_t elements_per_row, const Body& body);
  float* grow(DeviceMemory& memory, std::int64_t floats, const char* what);

  // Constant after construction.
  const CpuKernels& kernels_;
  std::string name_;
  // Owned by the calling thread between ops, by pool threads (each its part) inside one.
  ThreadPool pool_;
  DeviceMemory linear_scratch_;     // (threads, kLinearScratchFloats)
  DeviceMemory packed_rows_;        // (rows, K) of the product at hand
  DeviceMemory attention_scratch_;  // (threads, scratch + states of one tile)
  DeviceMemory partial_states_;     // (states, kAttentionTile vectors)
};

}  // namespace leadline::worker::cpu
