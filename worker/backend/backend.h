#pragma once
// Backend: the ops a Llama-family model needs, at the granularity at which they fuse. Not a graph and not a
// scheduler. Implementations: cpu (scalar, AVX2, AVX-512 kernel tables), later cuda; one conformance suite
// holds them to the scalar reference. Choice: ordered candidates with a predicate and an override by name
// (backend.cpp).
//
// Thread: one owner (the step thread) calls every op; ops return when the result may be used by the next op.
// Invariants:
//   1. Batch-invariant: the bits of an output row depend on that row's inputs only, never on the number of
//   rows, on their
//      order, on chunking or on thread count (exactness X1).
//   2. Rank-invariant: linear_sliced sums its slices in one fixed binary tree; add_partials goes on with the
//   same tree over
//      ranks (X2), so 1, 2 and 4 ranks give the same bits.
//   3. All activations are f32 in memory; a backend may round on the way into a matrix product, always the
//   same way.
// Shapes are in brackets, row-major. "aliases" says which arguments may be the same memory; all others must
// not overlap.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/backend/kv_view.h"
#include "worker/backend/tensor.h"
#include "worker/backend/token_choice.h"
#include "worker/errc.h"

namespace leadline::worker {

// Device memory, zeroed, aligned to 64 bytes (CPU) or 256 (GPU). Freed with the handle. data() is an address
// of the device: host code touches what is behind it through Backend::upload and download only.
class Buffer {
 public:
  virtual ~Buffer() = default;
  [[nodiscard]] virtual void* data() = 0;
  [[nodiscard]] virtual std::int64_t bytes() const = 0;
};

// KV memory: `units` units of kPageTokens slots of K and V of head_dim elements of `dtype`.
class KvPool {
 public:
  virtual ~KvPool() = default;
  [[nodiscard]] virtual std::uint32_t units() const = 0;
  [[nodiscard]] virtual std::int64_t unit_bytes()
      const = 0;  // in the backend's layout, planes and scales included
  [[nodiscard]] virtual DType dtype() const = 0;
};

// Angles of rotary embedding: cos and sin per (position, pair), made once in f64 and rounded.
struct RopeTable {
  const float* cos = nullptr;  // (max_positions, head_dim / 2)
  const float* sin = nullptr;  // (max_positions, head_dim / 2)
  std::int32_t max_positions = 0;
};

struct HeadNorm {            // Qwen3's per-head RMS norm of q and k before RoPE; null weights: none
  const float* q = nullptr;  // (head_dim)
  const float* k = nullptr;  // (head_dim)
  float eps = 0;
};

// What one step runs, for Backend::begin_step: the very arrays that embed, rope_write_kv, attention and
// gather_rows are then called with (bases of the KV tables may all move by one amount from layer to layer).
// After gather_rows of logit_rows, products are of those rows.
struct StepRows {
  std::span<const std::int32_t> tokens;
  std::span<const SequenceRows> sequences;
  std::span<const std::int32_t> logit_rows;
  std::span<const std::int32_t> kept_in, kept_out;  // of gather_rows and scatter_rows on rows between passes
  // Every layer's ops get all sequences with these tables; else those of the layer, with tables of its own.
  bool same_tables = true;
};

struct KvPoolShape {
  std::uint32_t units = 0;
  std::int32_t head_dim = 0;
  DType dtype = DType::f32;
  // Unit u belongs to page u / units_per_page. Where units lie is the pool's matter: the CPU's puts those of
  // a head side by side, so that a walk over a sequence is one stream of memory.
  std::uint32_t units_per_page = 1;
};

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // "cpu/avx512", ...
  [[nodiscard]] virtual std::string arithmetic_id()
      const = 0;  // what fixes the bits (X7): ISA set, splits, version

  virtual Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes, std::string_view what) = 0;
  virtual Result<std::unique_ptr<KvPool>> allocate_kv(const KvPoolShape& shape) = 0;

  // Matrices, vectors, tables of angles and slot biases that ops take are device memory; ids, rows, sequences
  // and their tables are host memory. Both copies are done when they return, ordered after earlier ops.
  virtual void upload(void* device, const void* host, std::int64_t bytes);
  virtual void download(void* host, const void* device, std::int64_t bytes);
  [[nodiscard]] virtual bool host_addressable() const { return true; }  // host code may follow data()
  // A checkpoint's table as embed wants it: on the CPU the part itself, else a copy that `holder` keeps.
  virtual Result<WeightPart> resident(const WeightPart& table, std::unique_ptr<Buffer>& holder);
  // Where ops are ordered, for the communicator's device collectives; null on the CPU.
  [[nodiscard]] virtual void* stream() { return nullptr; }
  // Bytes that KV pages and buffers may still take, of the device's; -1: it is the host's memory.
  [[nodiscard]] virtual std::int64_t free_bytes() { return -1; }

  // Around the ops of one step, so that a device takes its inputs over once; ops work without it too.
  virtual void begin_step(const StepRows& rows) { (void)rows; }
  virtual void end_step() {}
  // Runs `body`, a fixed order of ops on the begun step; a device may record it and replay the record for a
  // step of the same shape and `tag` (which names what the body does: layers, exit). Fails as body does.
  virtual Result<void> run_recorded(std::uint64_t tag, const std::function<Result<void>()>& body) {
    (void)tag;
    return body();
  }

  // Stacks parts along out_features into one packed matrix of `format` (f32, bf16, f16; i8, i4 with the CPU
  // engine issue). All parts have the same in_features. slices: equal cuts along in_features, REQUIRES
  // in_features % slices == 0.
  virtual Result<std::unique_ptr<PackedMatrix>> pack(std::span<const WeightPart> parts, DType format,
                                                     int slices) = 0;

  // A matrix from the `bytes` that stored() of one of this shape gave under the same packing.
  // malformed_file: another length, or the reader failed. configuration: not on this backend.
  virtual Result<std::unique_ptr<PackedMatrix>> restore(const PackedShape& shape, std::int64_t bytes,
                                                        const PackedReader& read);
  // The same without a copy: the matrix lies where its bytes are. malformed_file: another length, or a chunk
  // that is not whole. configuration: not on this backend.
  virtual Result<std::unique_ptr<PackedMatrix>> adopt(const PackedShape& shape, const PackedBytes& stored,
                                                      const PackedCheck& check);

  // out[rows, hidden] = table[ids[r]] widened to f32. REQUIRES 0 <= id < table.out_features, table of
  // resident().
  virtual void embed(const WeightPart& table, std::span<const std::int32_t> ids, FloatMatrix out) = 0;

  // out[rows, n] = x / rms(x) * weight[n]. out may alias x.
  virtual void rms_norm(ConstFloatMatrix x, std::span<const float> weight, float eps, FloatMatrix out) = 0;

  // out[rows, N] = x[rows, K] * w^T + bias[N] (bias empty: none).
  virtual void linear(ConstFloatMatrix x, const PackedMatrix& w, std::span<const float> bias,
                      FloatMatrix out) = 0;

  // out[rows, N] = tree sum over w.slices() of the slices' products. This rank's partial of o_proj or
  // down_proj.
  virtual void linear_sliced(ConstFloatMatrix x, const PackedMatrix& w, FloatMatrix out) = 0;

  // residual[rows, N] += tree sum over ranks of partials[ranks, rows, N] (+ bias[N], added after the sum,
  // once).
  virtual void add_partials(std::span<const float> partials, int ranks, std::span<const float> bias,
                            FloatMatrix residual) = 0;

  // qkv[rows, (query_heads + 2 kv_heads) * head_dim]: normalises heads if asked, rotates q and k (rotate-half
  // pairs i, i + head_dim/2) by each row's position, leaves q in place, writes k and v to the pages.
  virtual void rope_write_kv(FloatMatrix qkv, const AttentionShape& shape, const RopeTable& rope,
                             const HeadNorm& norm, std::span<const SequenceRows> sequences, KvPool& pool) = 0;

  // out[rows, query_heads * head_dim] from q = the first query_heads * head_dim columns of qkv. Causal: row i
  // of a sequence sees its slots 0..kv_before + i (within the window). Query head h reads KV head h /
  // (query_heads / kv_heads). KV is walked in fixed splits counted in pages, rescaled in one order. lse:
  // log-sum-exp [rows, query_heads] or empty.
  virtual void attention(ConstFloatMatrix qkv, const AttentionShape& shape,
                         std::span<const SequenceRows> sequences, const KvPool& pool, FloatMatrix out,
                         std::span<float> lse) = 0;

  // out[rows, F] = silu(gate) * up, gate_up[rows, 2F] = gate then up.
  virtual void silu_mul(ConstFloatMatrix gate_up, FloatMatrix out) = 0;

  // out[i] = x[rows[i]].
  virtual void gather_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) = 0;
  // out[rows[i]] = x[i]; of equal rows any one.
  virtual void scatter_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out);

  // Chooses tokens from rows of logits where they are, by the sampler's definitions: out[i] for rows[i],
  // whose edits lie end to end in `edits`. False: not here (the CPU, where the sampler reads logits itself).
  virtual bool choose_tokens(ConstFloatMatrix logits, std::span<const TokenChoiceRow> rows,
                             std::span<const LogitEdit> edits, std::span<TokenChoice> out);
  // Features of each row's first `vocab` logits.
  virtual void features(ConstFloatMatrix logits, std::int32_t vocab, std::span<LogitFeatures> out);

  // Whole units, all layouts the backend's own: device to device, and to and from host memory of unit_bytes
  // each.
  virtual void copy_unit(KvPool& pool, std::uint32_t from, std::uint32_t to) = 0;
  virtual void read_unit(const KvPool& pool, std::uint32_t unit, std::byte* host) = 0;
  virtual void write_unit(KvPool& pool, std::uint32_t unit, const std::byte* host) = 0;
  // The same for several: host holds them end to end, unit_bytes each. A device takes them in one go.
  virtual void read_units(const KvPool& pool, std::span<const std::uint32_t> units, std::byte* host);
  virtual void write_units(KvPool& pool, std::span<const std::uint32_t> units, const std::byte* host);
};

struct BackendOptions {
  std::string device = "auto";  // auto | cpu | cuda
  std::string isa =
      "";           // "" = best of the host; scalar | avx2 | avx512 | avx512vnni | avx512bf16 | amx |
                    // amxbf16 (bf16 weights have bits of their own with a ...bf16); also LEADLINE_CPU_ISA
  int threads = 0;  // 0 = cores of this process divided by the ranks on this machine, at least 1
  int rank_on_host = 0, ranks_on_host = 1;
  double gpu_memory_utilization = 0.9;  // share of the device's free memory that may be used; (0, 1]
  bool rank_invariant = true;           // cuda: slice trees (X2); false: fewer, larger products
  bool record_steps = true;             // cuda: decode steps as graphs
  bool poison = false;                  // cuda: outputs are filled with NaN before each op, for tests
  std::function<void(std::string_view message)> log;  // told once what was chosen and why; null: silent
};
// How a build with the CUDA backend makes it known (worker/main, tests): "auto" prefers it where usable().
struct CudaCandidate {
  bool (*usable)() = nullptr;
  Result<std::unique_ptr<Backend>> (*make)(const BackendOptions&) = nullptr;
};
void register_cuda(const CudaCandidate& candidate);
Result<std::unique_ptr<Backend>> make_backend(const BackendOptions& options);

}  // namespace leadline::worker
