#include "worker/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>

#include "monitoring/check.h"
#include "worker/backend/cuda/cuda_memory.h"

namespace leadline::worker::cuda {

namespace {

constexpr std::int64_t kReserveBytes = std::int64_t{512}
                                       << 20;  // for scratch that grows with the first large step

bool counts_up(std::span<const std::int32_t> ids) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] != static_cast<std::int32_t>(i)) return false;
  return true;
}

}  // namespace

CudaBackend::CudaBackend(std::unique_ptr<Runtime> runtime, const BackendOptions& options)
    : runtime_(std::move(runtime)),
      options_(options),
      info_(runtime_->info()),
      name_(std::string(runtime_->emulated() ? "cuda-emulated/sm_" : "cuda/sm_") +
            std::to_string(info_.major) + std::to_string(info_.minor)) {}

CudaBackend::~CudaBackend() {
  runtime_->synchronize(stream_.get(), "the end");
}

Result<std::unique_ptr<Backend>> CudaBackend::create(std::unique_ptr<Runtime> runtime,
                                                     const BackendOptions& options) {
  std::unique_ptr<CudaBackend> made(new CudaBackend(std::move(runtime), options));
  const DeviceInfo& info = made->info_;
  if (info.major < kMinMajor)
    return monitoring::fail(Errc::configuration, "GPU " + info.name + " is sm_" + std::to_string(info.major) +
                                                     std::to_string(info.minor) +
                                                     ": sm_80 or later is needed");
  made->stream_ = Stream(*made->runtime_, made->runtime_->make_stream());
  made->copier_ = std::make_unique<PageCopier>(*made->runtime_, made->stream_.get());
  if (!made->copier_->ready())
    return monitoring::fail(Errc::out_of_memory, "no pinned host memory for the page copier: " +
                                                     std::to_string(PageCopier::kStagingBytes) + " bytes");
  for (StagedImage* image : {&made->tables_, &made->choices_, &made->ids_})
    for (Staging& staging : image->staging)
      staging.sent = Event(*made->runtime_, made->runtime_->make_event());
  auto arena = Arena::open(*made->runtime_, options.gpu_memory_utilization);
  if (!arena) return tl::unexpected(arena.error());
  made->arena_ = std::move(*arena);
  if (options.log)
    options.log("cuda backend: " + info.name + ", sm_" + std::to_string(info.major) +
                std::to_string(info.minor) + ", " + std::to_string(info.multiprocessors) +
                " multiprocessors, arena " + made->arena_->table());
  return std::unique_ptr<Backend>(std::move(made));
}

// fp8 products run in other units before sm_89, and cuBLASLt's kernels differ from chip to chip.
std::string CudaBackend::arithmetic_id() const {
  return "cuda1:" + name_ + ",gemm prefill|decode," + (options_.rank_invariant ? "slice-tree" : "whole-k") +
         ",attention prefill tiles|walk,int4g" + std::to_string(kInt4Group) + ",split" +
         std::to_string(kSplitSlots);
}

Result<std::unique_ptr<Buffer>> CudaBackend::allocate(std::int64_t bytes, std::string_view what) {
  auto taken = arena_->take(bytes, what);
  if (!taken) return tl::unexpected(taken.error());
  if (bytes > 0) runtime_->fill(*taken, 0, bytes, stream_.get());
  return std::unique_ptr<Buffer>(new CudaBuffer(ArenaPiece(*arena_, *taken, bytes), bytes));
}

Result<std::unique_ptr<KvPool>> CudaBackend::allocate_kv(const KvPoolShape& shape) {
  auto pool = CudaKvPool::create(*arena_, shape.units, shape.head_dim, shape.dtype);
  if (!pool) return tl::unexpected(pool.error());
  ++pools_made_;  // another pool may lie where one was
  graphs_.clear();
  const UnitMemory memory = (*pool)->memory();
  if (shape.units > 0)
    runtime_->fill(memory.base, 0, memory.unit_bytes * std::int64_t{shape.units}, stream_.get());
  if (options_.log) options_.log("cuda memory: " + arena_->table());
  return std::unique_ptr<KvPool>(std::move(*pool));
}

void CudaBackend::upload(void* device, const void* host, std::int64_t bytes) {
  if (bytes == 0) return;
  runtime_->copy(device, host, bytes, Copy::to_device, stream_.get());
  runtime_->synchronize(stream_.get(), "upload");
}

void CudaBackend::download(void* host, const void* device, std::int64_t bytes) {
  if (bytes == 0) return;
  runtime_->copy(host, device, bytes, Copy::to_host, stream_.get());
  runtime_->synchronize(stream_.get(), "download");
}

Result<WeightPart> CudaBackend::resident(const WeightPart& table, std::unique_ptr<Buffer>& holder) {
  const auto size = static_cast<std::int64_t>(transport::bits_of(table.dtype) / 8);
  const std::int64_t row_bytes = table.in_features * size;
  auto buffer = allocate(table.out_features * row_bytes, "embedding");
  if (!buffer) return tl::unexpected(buffer.error());
  const auto* from = static_cast<const std::byte*>(table.data);
  auto* to = static_cast<std::byte*>((*buffer)->data());
  if (table.row_stride == table.in_features) {
    upload(to, from, table.out_features * row_bytes);
  } else {
    for (std::int64_t r = 0; r < table.out_features; ++r)
      upload(to + r * row_bytes, from + r * table.row_stride * size, row_bytes);
  }
  WeightPart part = table;
  part.data = to;
  part.row_stride = table.in_features;
  holder = std::move(*buffer);
  return part;
}

std::int64_t CudaBackend::free_bytes() {
  const std::int64_t reserve = std::min(kReserveBytes, arena_->total_bytes() / 8);
  return std::max<std::int64_t>(0, arena_->largest_bytes() - reserve);
}

Result<std::unique_ptr<PackedMatrix>> CudaBackend::pack(std::span<const WeightPart> parts, DType format,
                                                        int slices) {
  const int cuts = options_.rank_invariant ? slices : 1;
  auto packed = pack_bytes(parts, format, cuts);
  if (!packed) return tl::unexpected(packed.error());
  const auto bytes = static_cast<std::int64_t>(packed->data.size());
  const auto scale_bytes = static_cast<std::int64_t>(packed->scales.size() * sizeof(float));
  auto data = arena_->take(bytes, "weights");
  if (!data) return tl::unexpected(data.error());
  ArenaPiece data_piece(*arena_, *data, bytes), scale_piece;
  if (scale_bytes > 0) {
    auto scales = arena_->take(scale_bytes, "weight scales");
    if (!scales) return tl::unexpected(scales.error());
    scale_piece = ArenaPiece(*arena_, *scales, scale_bytes);
  }
  upload(data_piece.data(), packed->data.data(), bytes);
  upload(scale_piece.data(), packed->scales.data(), scale_bytes);
  return std::unique_ptr<PackedMatrix>(
      new CudaPackedMatrix(*packed, format, cuts, std::move(data_piece), std::move(scale_piece)));
}

void* CudaBackend::grow(Scratch& scratch, std::int64_t bytes) {
  if (scratch.piece.bytes() >= bytes) return scratch.piece.data();
  LEADLINE_CHECK(!capturing_, "scratch grows outside of recorded steps only");
  if (scratch.recorded)
    for (auto& [key, recorded] : graphs_) recorded.graph = Graph();  // they hold the old address
  scratch.piece = ArenaPiece();
  auto taken = arena_->take(bytes + bytes / 4, scratch.what);
  if (!taken && options_.log) options_.log(taken.error().message);
  LEADLINE_CHECK(taken.has_value(),
                 "no device memory for the scratch of a step: fewer rows per step, or less for KV");
  scratch.piece = ArenaPiece(*arena_, *taken, bytes + bytes / 4);
  return scratch.piece.data();
}

void CudaBackend::poison(FloatMatrix out) {
  if (!options_.poison || out.rows == 0) return;
  for (std::int64_t r = 0; r < out.rows; ++r)
    runtime_->fill(out.row(r), 0xff, out.cols * std::int64_t{sizeof(float)}, stream_.get());
}

// Sends `bytes` to the device through one of two pinned buffers; waits only if that one is still on its way,
// two sends later.
void* CudaBackend::send(StagedImage& image, const void* data, std::int64_t bytes) {
  LEADLINE_CHECK(!capturing_, "tables are sent before a step is recorded");
  Staging& staging = image.staging[image.next];
  image.next = (image.next + 1) % image.staging.size();
  if (staging.used) runtime_->wait_on_host(staging.sent.get(), image.scratch.what);
  if (staging.bytes < bytes) {
    staging.memory = PinnedMemory(*runtime_, runtime_->allocate_pinned(bytes * 2));
    LEADLINE_CHECK(static_cast<bool>(staging.memory), "no pinned host memory for step tables");
    staging.bytes = bytes * 2;
  }
  void* device = grow(image.scratch, std::max<std::int64_t>(bytes, image.least_bytes));
  if (bytes > 0) std::memcpy(staging.memory.get(), data, static_cast<std::size_t>(bytes));
  runtime_->copy(device, staging.memory.get(), bytes, Copy::to_device, stream_.get());
  runtime_->record(staging.sent.get(), stream_.get());
  staging.used = true;
  return device;
}

void CudaBackend::send_tables() {
  send(tables_, step_tables_.words().data(), static_cast<std::int64_t>(step_tables_.words().size_bytes()));
}

void CudaBackend::begin_step(const StepRows& rows) {
  step_ = rows;
  in_step_ = true;
  at_logits_ = false;
  layer_sequences_ = {};
  tables_known_ = step_shape_.group > 0;
  layout_ = step_tables_.build(rows, step_shape_);
  send_tables();
  step_on_device_ = true;
}

void CudaBackend::end_step() {
  in_step_ = at_logits_ = false;
  step_ = {};
  layer_sequences_ = {};
}

Result<void> CudaBackend::run_recorded(std::uint64_t tag, const std::function<Result<void>()>& body) {
  const bool recordable = in_step_ && step_.same_tables && tables_known_ && layout_.plain && layout_.decode &&
                          options_.record_steps && !options_.poison;
  if (!recordable) return body();
  const SplitChoice splits = choose_splits(
      layout_.longest_slots, std::int64_t{layout_.tiles} * step_shape_.kv_heads, 1, info_.multiprocessors);
  const GraphKey key{tag,
                     pools_made_,
                     layout_.rows,
                     layout_.sequences,
                     layout_.logit_rows,
                     layout_.tiles,
                     splits.max_splits,
                     attention_kernel(kF32, layout_.widest_tile)};
  const auto found = graphs_.find(key);
  if (found == graphs_.end() && graphs_.size() >= kMaxGraphs) return body();
  Recorded& recorded = graphs_[key];
  if (recorded.graph) {
    runtime_->launch_graph(recorded.graph.get(), stream_.get());
    ++replayed_steps_;
    return {};
  }
  // The first run of a shape grows the scratch, which drops recorded steps; the second is recorded.
  if (recorded.runs++ == 0) return body();
  return record(key, body);
}

Result<void> CudaBackend::record(const GraphKey& key, const std::function<Result<void>()>& body) {
  runtime_->begin_capture(stream_.get());
  capturing_ = true;
  auto ran = body();
  capturing_ = false;
  Graph graph(*runtime_, runtime_->end_capture(stream_.get()));
  if (!ran) return ran;
  if (!graph) return body();
  runtime_->launch_graph(graph.get(), stream_.get());
  graphs_[key].graph = std::move(graph);
  return {};
}

// Where ids are on the device: the step's own, none for 0, 1, 2, ..., or sent now.
const std::int32_t* CudaBackend::device_ids(std::span<const std::int32_t> ids) {
  const auto* words = static_cast<const std::int32_t*>(tables_.scratch.piece.data());
  const auto is = [&](std::span<const std::int32_t> known) {
    return in_step_ && step_on_device_ && ids.data() == known.data() && ids.size() == known.size();
  };
  if (is(step_.tokens)) return words + layout_.tokens_at;
  if (is(step_.logit_rows)) return words + layout_.logit_rows_at;
  if (is(step_.kept_in)) return words + layout_.kept_in_at;
  if (is(step_.kept_out)) return words + layout_.kept_out_at;
  LEADLINE_CHECK(!capturing_, "ids of a recorded step are those it was begun with");
  return static_cast<const std::int32_t*>(
      send(ids_, ids.data(), static_cast<std::int64_t>(ids.size_bytes())));
}

void CudaBackend::embed(const WeightPart& table, std::span<const std::int32_t> ids, FloatMatrix out) {
  LEADLINE_CHECK(static_cast<std::int64_t>(ids.size()) == out.rows && out.cols == table.in_features,
                 "embed: shapes");
  for (const std::int32_t id : ids)
    LEADLINE_CHECK(id >= 0 && id < table.out_features, "embed: token id outside the table");
  if (ids.empty()) return;
  poison(out);
  const EmbedArgs args{table.data,
                       device_ids(ids),
                       out.data,
                       table.row_stride,
                       out.row_stride,
                       out.cols,
                       static_cast<std::int32_t>(table.dtype),
                       static_cast<std::int32_t>(out.rows)};
  launch(KernelId::embed, rows_by_columns(out.rows, out.cols), args, "embed");
}

void CudaBackend::rms_norm(ConstFloatMatrix x, std::span<const float> weight, float eps, FloatMatrix out) {
  LEADLINE_CHECK(
      x.rows == out.rows && x.cols == out.cols && static_cast<std::int64_t>(weight.size()) == x.cols,
      "rms_norm: shapes");
  if (x.data != out.data) poison(out);
  const RmsNormArgs args{x.data,         weight.data(), out.data, x.row_stride,
                         out.row_stride, x.cols,        eps,      static_cast<std::int32_t>(x.rows)};
  launch(KernelId::rms_norm, {x.rows, 1, 1}, args, "rms_norm", 32 * 4);
}

void CudaBackend::add_partials(std::span<const float> partials, int ranks, std::span<const float> bias,
                               FloatMatrix residual) {
  LEADLINE_CHECK(ranks >= 1 && ranks < 128, "add_partials: ranks");
  LEADLINE_CHECK(static_cast<std::int64_t>(partials.size()) == ranks * residual.rows * residual.cols,
                 "add_partials: shapes");
  LEADLINE_CHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == residual.cols,
                 "add_partials: bias");
  const TreeSumArgs args{partials.data(),
                         bias.empty() ? nullptr : bias.data(),
                         residual.data,
                         residual.row_stride,
                         residual.cols,
                         ranks,
                         static_cast<std::int32_t>(residual.rows),
                         1,
                         0};
  launch(KernelId::tree_sum, rows_by_columns(residual.rows, residual.cols), args, "add_partials");
}

void CudaBackend::silu_mul(ConstFloatMatrix gate_up, FloatMatrix out) {
  LEADLINE_CHECK(gate_up.rows == out.rows && gate_up.cols == 2 * out.cols, "silu_mul: shapes");
  poison(out);
  const SiluMulArgs args{gate_up.data,
                         out.data,
                         gate_up.row_stride,
                         out.row_stride,
                         out.cols,
                         static_cast<std::int32_t>(out.rows),
                         0};
  launch(KernelId::silu_mul, rows_by_columns(out.rows, out.cols), args, "silu_mul");
}

void CudaBackend::gather_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) {
  LEADLINE_CHECK(static_cast<std::int64_t>(rows.size()) == out.rows && x.cols == out.cols,
                 "gather_rows: shapes");
  for (const std::int32_t row : rows)
    LEADLINE_CHECK(row >= 0 && row < x.rows, "gather_rows: row outside the matrix");
  if (rows.empty()) return;
  poison(out);
  const bool of_logits = in_step_ && rows.data() == step_.logit_rows.data();
  const bool of_step = of_logits || (in_step_ && rows.data() == step_.kept_in.data());
  at_logits_ = at_logits_ || of_logits;
  const GatherRowsArgs args{x.data,
                            !of_step && counts_up(rows) ? nullptr : device_ids(rows),
                            nullptr,
                            out.data,
                            x.row_stride,
                            out.row_stride,
                            out.cols,
                            static_cast<std::int32_t>(out.rows),
                            0};
  launch(KernelId::gather_rows, rows_by_columns(out.rows, out.cols), args, "gather_rows");
}

void CudaBackend::scatter_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) {
  LEADLINE_CHECK(static_cast<std::int64_t>(rows.size()) == x.rows && x.cols == out.cols,
                 "scatter_rows: shapes");
  for (const std::int32_t row : rows)
    LEADLINE_CHECK(row >= 0 && row < out.rows, "scatter_rows: row outside the matrix");
  if (rows.empty()) return;
  const GatherRowsArgs args{x.data,
                            nullptr,
                            device_ids(rows),
                            out.data,
                            x.row_stride,
                            out.row_stride,
                            x.cols,
                            static_cast<std::int32_t>(x.rows),
                            0};
  launch(KernelId::gather_rows, rows_by_columns(x.rows, x.cols), args, "scatter_rows");
}

}  // namespace leadline::worker::cuda
