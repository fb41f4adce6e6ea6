#pragma once
// CudaBackend: the ops of Backend as launches on one stream of a Runtime. Not the arithmetic (row_kernels.h,
// kv_kernels.h, cuBLASLt), not the choice of kernels (kernel_select) and not CUDA's calls (device_runtime).
//
// Thread: one owner. Invariants:
//   1. No op waits for the device: only upload, download, read_units and, when a staging buffer is still on
//   its way,
//      begin_step do. Ops are ordered by the stream, copies of pages by events between it and the copy
//      stream.
//   2. Products of prompt rows and of decode or verification rows are two arithmetics, each fixed over row
//   counts; a
//      step's rows are cut into runs of one class. The class is in the arithmetic id.
//   3. Scratch grows outside of recorded steps only; growing drops what was recorded.

#include <array>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/backend/cuda/arena.h"
#include "worker/backend/cuda/kernel_select.h"
#include "worker/backend/cuda/packed_matrix.h"
#include "worker/backend/cuda/page_copier.h"
#include "worker/backend/cuda/step_tables.h"

namespace leadline::worker::cuda {

class CudaKvPool;

class CudaBackend final : public Backend {
 public:
  // configuration: a chip before sm_80; out_of_memory with the numbers.
  static Result<std::unique_ptr<Backend>> create(std::unique_ptr<Runtime> runtime,
                                                 const BackendOptions& options);
  ~CudaBackend() override;

  std::string_view name() const override { return name_; }
  std::string arithmetic_id() const override;
  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes, std::string_view what) override;
  Result<std::unique_ptr<KvPool>> allocate_kv(const KvPoolShape& shape) override;
  void upload(void* device, const void* host, std::int64_t bytes) override;
  void download(void* host, const void* device, std::int64_t bytes) override;
  bool host_addressable() const override { return false; }
  Result<WeightPart> resident(const WeightPart& table, std::unique_ptr<Buffer>& holder) override;
  void* stream() override { return stream_.get(); }
  std::int64_t free_bytes() override;
  void begin_step(const StepRows& rows) override;
  void end_step() override;
  Result<void> run_recorded(std::uint64_t tag, const std::function<Result<void>()>& body) override;
  Result<std::unique_ptr<PackedMatrix>> pack(std::span<const WeightPart> parts, DType format,
                                             int slices) override;
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
  void scatter_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) override;
  void copy_unit(KvPool& pool, std::uint32_t from, std::uint32_t to) override;
  void read_unit(const KvPool& pool, std::uint32_t unit, std::byte* host) override;
  void write_unit(KvPool& pool, std::uint32_t unit, const std::byte* host) override;
  void read_units(const KvPool& pool, std::span<const std::uint32_t> units, std::byte* host) override;
  void write_units(KvPool& pool, std::span<const std::uint32_t> units, const std::byte* host) override;

  // One image to the device, one launch, one small copy back each.
  bool choose_tokens(ConstFloatMatrix logits, std::span<const TokenChoiceRow> rows,
                     std::span<const LogitEdit> edits, std::span<TokenChoice> out) override;
  void features(ConstFloatMatrix logits, std::int32_t vocab, std::span<LogitFeatures> out) override;

  [[nodiscard]] Runtime& runtime() { return *runtime_; }
  [[nodiscard]] std::string memory_table() const { return arena_->table(); }
  [[nodiscard]] std::size_t recorded_steps() const {
    std::size_t count = 0;
    for (const auto& [key, recorded] : graphs_) count += recorded.graph ? 1 : 0;
    return count;
  }

  [[nodiscard]] std::int64_t replayed_steps() const { return replayed_steps_; }

 private:
  struct Scratch {
    const char* what;
    ArenaPiece piece;
    bool recorded = true;  // recorded steps hold its address
  };
  struct Staging {
    PinnedMemory memory;
    std::int64_t bytes = 0;
    Event sent;
    bool used = false;
  };
  // What the host makes anew for each step, on its way through pinned memory.
  struct StagedImage {
    Scratch scratch;
    std::int64_t least_bytes = 0;
    std::array<Staging, 2> staging{};
    std::size_t next = 0;
  };
  struct ClassRun {
    std::int64_t first, rows;
    ProductClass product_class;
  };
  // Everything that a recorded step bakes in.
  struct GraphKey {
    std::uint64_t tag = 0;   // what the body does, on which pool
    std::int64_t pools = 0;  // pools made and gone so far: a record holds a pool's addresses and geometry
    std::int32_t rows = 0, sequences = 0, logit_rows = 0, tiles = 0, max_splits = 0;
    KernelId attention = KernelId::count;  // of the widest tile
    auto operator<=>(const GraphKey&) const = default;
  };
  struct Recorded {
    int runs = 0;
    Graph graph;
  };
  // The image of a call's or of the begun step's sequences, on the device.
  struct Located {
    StepImage image;
    StepLayout layout;
  };

  CudaBackend(std::unique_ptr<Runtime> runtime, const BackendOptions& options);
  template <typename Args>
  void launch(KernelId kernel, const Grid& grid, const Args& args, const char* stage,
              std::int64_t shared_bytes = 0) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    runtime_->launch({kernel, grid, shared_bytes, &args, sizeof args, stage}, stream_.get());
  }
  void* grow(Scratch& scratch, std::int64_t bytes);
  void poison(FloatMatrix out);
  void* send(StagedImage& image, const void* data, std::int64_t bytes);
  void send_tables();
  Located locate(std::span<const SequenceRows> sequences, const AttentionShape& shape,
                 const CudaKvPool& pool);
  void walk(AttentionArgs args, const StepLayout& layout, std::int32_t page_format, std::int64_t rows);
  const std::int32_t* device_ids(std::span<const std::int32_t> ids);
  void product(ConstFloatMatrix x, const CudaPackedMatrix& w, std::span<const float> bias, FloatMatrix out);
  void product_run(ConstFloatMatrix x, const CudaPackedMatrix& w, FloatMatrix out,
                   ProductClass product_class);
  void dense_product(ConstFloatMatrix x, const CudaPackedMatrix& w, FloatMatrix out,
                     const ProductChoice& choice, ProductClass product_class);
  std::vector<ClassRun> runs_of(std::int64_t rows) const;
  [[nodiscard]] Result<void> record(const GraphKey& key, const std::function<Result<void>()>& body);

  // Constant after create.
  const std::unique_ptr<Runtime> runtime_;
  const BackendOptions options_;
  const DeviceInfo info_;
  const std::string name_;
  std::unique_ptr<Arena> arena_;
  Stream stream_;
  std::unique_ptr<PageCopier> copier_;

  // Scratch, owned by the step thread.
  Scratch cast_{"products: activations", {}}, row_scales_{"products: row scales", {}},
      parts_{"products: slices", {}}, widened_{"products: widened weights", {}},
      states_{"attention: splits", {}}, features_{"features", {}, false},
      choice_work_{"sampling: logits", {}, false}, choices_made_{"sampling: tokens", {}, false};
  StagedImage tables_{{"step tables", {}}, 1 << 20}, choices_{{"sampling: rows", {}, false}, 1 << 16},
      ids_{{"ids", {}, false}, 1 << 14};

  // The step at hand.
  StepTables step_tables_;
  StepLayout layout_;
  StepRows step_;
  bool in_step_ = false, capturing_ = false;
  bool step_on_device_ = false;  // the image there is the begun step's, with its ids
  bool tables_known_ = false;    // and has its tiles
  // Of a step whose layers have sequences of their own: whose tables the image has.
  std::span<const SequenceRows> layer_sequences_;
  StepLayout layer_layout_;
  TileShape layer_shape_;
  bool at_logits_ = false;  // products are of the rows with logits
  TileShape step_shape_;    // of the model, known from its first attention
  std::map<GraphKey, Recorded> graphs_;
  std::int64_t pools_made_ = 0, replayed_steps_ = 0;
};

constexpr std::size_t kMaxGraphs = 512;  // recorded steps kept; beyond, steps run as they are

}  // namespace leadline::worker::cuda
