#include "worker/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "monitoring/check.h"

namespace leadline::worker::cpu {

namespace {

constexpr std::int64_t kInlineElements = 16384;   // row-wise work below this costs less than waking the pool
constexpr std::int64_t kInlineProducts = 131072;  // multiply-adds, likewise
constexpr std::int64_t kPackChunk = 512;          // k of one packing item
constexpr std::int64_t kClaimBytes = 65536;       // of weights that a thread takes at a time

const PackedWeights& packed_of(const PackedMatrix& w) {
  return static_cast<const PackedWeights&>(w);
}

}  // namespace

CpuBackend::CpuBackend(const CpuKernels& kernels, const ThreadPoolOptions& threads)
    : kernels_(kernels), name_(std::string("cpu/") + kernels.name), pool_(threads) {}

Result<std::unique_ptr<Backend>> CpuBackend::create(const CpuKernels& kernels,
                                                    const ThreadPoolOptions& threads) {
  std::unique_ptr<CpuBackend> backend(new CpuBackend(kernels, threads));
  auto scratch = DeviceMemory::allocate(
      std::int64_t{threads.threads} * kLinearScratchFloats * std::int64_t{sizeof(float)}, "kernel scratch");
  if (!scratch) return tl::unexpected(scratch.error());
  backend->linear_scratch_ = std::move(*scratch);
  return std::unique_ptr<Backend>(std::move(backend));
}

// Tables compute the same bits (conformance: ISA levels agree with ==), so the ISA is not part of it; those
// that do not say so.
std::string CpuBackend::arithmetic_id() const {
  return "cpu1:lanes16,fma,slice-tree,int8g" + std::to_string(kGroup) + ",split" +
         std::to_string(kSplitSlots) + (kernels_.arithmetic ? kernels_.arithmetic : "");
}

float* CpuBackend::grow(DeviceMemory& memory, std::int64_t floats, const char* what) {
  const std::int64_t bytes = floats * std::int64_t{sizeof(float)};
  if (memory.bytes() < bytes) {
    auto larger = DeviceMemory::allocate(bytes + bytes / 4, what);
    LEADLINE_CHECK(larger, "no memory for the scratch of a step; lower the rows per step");
    memory = std::move(*larger);
  }
  return memory.floats();
}

template <typename Body>
void CpuBackend::over_rows(std::int64_t rows, std::int64_t elements_per_row, const Body& body) {
  auto range = [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) body(r);
  };
  if (rows * elements_per_row < kInlineElements) return range(0, 0, rows);
  pool_.run(rows, range);
}

Result<std::unique_ptr<Buffer>> CpuBackend::allocate(std::int64_t bytes, std::string_view what) {
  auto memory = DeviceMemory::allocate(bytes, what);
  if (!memory) return tl::unexpected(memory.error());
  return std::unique_ptr<Buffer>(new CpuBuffer(std::move(*memory)));
}

Result<std::unique_ptr<KvPool>> CpuBackend::allocate_kv(const KvPoolShape& shape) {
  return CpuKvPool::create(shape);
}

Result<std::unique_ptr<PackedMatrix>> CpuBackend::pack(std::span<const WeightPart> parts, DType format,
                                                       int slices) {
  const OwnerHold hold(pool_);
  return PackedWeights::pack(parts, format, slices, kernels_, pool_);
}

Result<std::unique_ptr<PackedMatrix>> CpuBackend::restore(const PackedShape& shape, std::int64_t bytes,
                                                          const PackedReader& read) {
  const OwnerHold hold(pool_);
  return PackedWeights::restore(shape, bytes, read, kernels_, pool_);
}

Result<std::unique_ptr<PackedMatrix>> CpuBackend::adopt(const PackedShape& shape, const PackedBytes& stored,
                                                        const PackedCheck& check) {
  const OwnerHold hold(pool_);
  return PackedWeights::adopt(shape, stored, check, kernels_, pool_);
}

void CpuBackend::embed(const WeightPart& table, std::span<const std::int32_t> ids, FloatMatrix out) {
  LEADLINE_CHECK(static_cast<std::int64_t>(ids.size()) == out.rows && out.cols == table.in_features,
                 "embed: shapes");
  const auto size = static_cast<std::int64_t>(transport::bits_of(table.dtype) / 8);
  over_rows(out.rows, out.cols, [&](std::int64_t r) {
    const std::int64_t id = ids[static_cast<std::size_t>(r)];
    LEADLINE_CHECK(id >= 0 && id < table.out_features, "embed: token id outside the table");
    kernels_.widen(static_cast<const std::uint8_t*>(table.data) + id * table.row_stride * size,
                   static_cast<int>(table.dtype), out.cols, out.row(r));
  });
}

void CpuBackend::rms_norm(ConstFloatMatrix x, std::span<const float> weight, float eps, FloatMatrix out) {
  LEADLINE_CHECK(
      x.rows == out.rows && x.cols == out.cols && static_cast<std::int64_t>(weight.size()) == x.cols,
      "rms_norm: shapes");
  over_rows(x.rows, x.cols,
            [&](std::int64_t r) { kernels_.rms_norm(x.row(r), weight.data(), x.cols, eps, out.row(r)); });
}

void CpuBackend::linear(ConstFloatMatrix x, const PackedMatrix& w, std::span<const float> bias,
                        FloatMatrix out) {
  LEADLINE_CHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == w.out_features(), "linear: bias");
  product(x, packed_of(w), bias.empty() ? nullptr : bias.data(), out);
}

void CpuBackend::linear_sliced(ConstFloatMatrix x, const PackedMatrix& w, FloatMatrix out) {
  product(x, packed_of(w), nullptr, out);
}

const void* CpuBackend::pack_rows(ConstFloatMatrix x, int groups) {
  float* packed = grow(packed_rows_, x.rows * x.cols, "packed activations");
  const std::int64_t chunks = (x.cols + kPackChunk - 1) / kPackChunk;
  auto items = [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t group = item / chunks, k = item % chunks * kPackChunk;
      const std::int64_t first = x.rows * group / groups, rows = x.rows * (group + 1) / groups - first;
      kernels_.pack_group(x.row(first) + k, x.row_stride, static_cast<int>(rows),
                          std::min(kPackChunk, x.cols - k), packed + first * x.cols + k * rows);
    }
  };
  if (x.rows * x.cols < kInlineElements)
    items(0, 0, groups * chunks);
  else
    pool_.run(groups * chunks, items);
  return packed;
}

// Activations as a quantising or splitting kernel packs them: `row_bytes` for each row and step of `step` k.
// Items are slices of row groups, so that few rows are packed by several threads too.
const void* CpuBackend::pack_steps(ConstFloatMatrix x, int groups, int slices, const StepPacking& packing) {
  const std::int64_t width = x.cols / slices, per_slice = (width + packing.step - 1) / packing.step;
  const std::int64_t all = per_slice * slices, bytes = x.rows * all * packing.row_bytes + packing.slack;
  auto* packed = reinterpret_cast<std::uint8_t*>(grow(packed_rows_, (bytes + 3) / 4, "packed activations"));
  auto items = [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t group = item / slices, slice = item % slices;
      const std::int64_t first = x.rows * group / groups, rows = x.rows * (group + 1) / groups - first;
      packing.kernel(x.row(first) + slice * width, x.row_stride, static_cast<int>(rows), width, 1,
                     packed + (first * all + slice * per_slice * rows) * packing.row_bytes);
    }
  };
  if (x.rows * x.cols < kInlineElements)
    items(0, 0, groups * slices);
  else
    pool_.run(groups * slices, items);
  return packed;
}

// How a product of this format wants its rows.
CpuBackend::ProductPlan CpuBackend::plan_product(DType format) const {
  ProductPlan plan;
  if (format == DType::i8 || format == DType::i4) {
    plan.group_rows = plan.direct_rows = kernels_.int_group_rows;
    plan.tiles = kernels_.int_tiles;
    plan.packing = {kernels_.quantize_group, kGroup, kInt8RowBytes, kInt8Slack};
  } else if (format == DType::bf16 && kernels_.split_group) {
    plan.group_rows = plan.direct_rows = kernels_.split_rows;
    plan.tiles = kernels_.split_tiles;
    plan.packing = {kernels_.split_group, kBf16Step, kBf16RowBytes, kBf16Slack};
  } else {
    plan.group_rows = kernels_.group_rows;
    plan.direct_rows = kernels_.direct_rows;
  }
  return plan;
}

void CpuBackend::product(ConstFloatMatrix x, const PackedWeights& w, const float* bias, FloatMatrix out) {
  LEADLINE_CHECK(x.rows == out.rows && x.cols == w.in_features() && out.cols == w.out_features(),
                 "linear: shapes");
  if (x.rows == 0 || out.cols == 0) return;
  LinearTask task = {};
  task.rows = x.rows;
  task.k = x.cols;
  task.n = out.cols;
  const ProductPlan plan = plan_product(w.format());
  task.groups = static_cast<int>((x.rows + plan.group_rows - 1) / plan.group_rows);
  task.group_end = task.groups;
  task.weights = w.panels();
  task.format = static_cast<int>(w.format());
  task.slices = w.slices();
  task.bias = bias;
  task.out = out.data;
  task.out_stride = out.row_stride;
  task.panel_end = w.panel_count();
  task.x = plan.packing.kernel ? pack_steps(x, task.groups, w.slices(), plan.packing)
           : x.rows == 1       ? static_cast<const void*>(x.data)
                               : pack_rows(x, task.groups);
  if (x.rows * x.cols * out.cols < kInlineProducts && task.groups == 1) {
    task.scratch = linear_scratch_.floats();
    return kernels_.linear(task);
  }
  if (x.rows > plan.direct_rows) return run_blocked(task, w.panel_count(), plan.tiles);
  const bool integers = w.format() == DType::i8 || w.format() == DType::i4;
  const bool pairs = integers ? x.rows == 1 : plan.tiles;
  const std::int64_t least = pairs ? 2 : 1;  // kernels take panels two by two
  const std::int64_t grain = std::max<std::int64_t>(least, kClaimBytes * w.panel_count() / w.bytes());
  pool_.run_claimed(w.panel_count(), grain, [&](int thread, std::int64_t begin, std::int64_t end) {
    LinearTask share = task;
    share.panel_begin = begin;
    share.panel_end = end;
    share.scratch = linear_scratch_.floats() + thread * kLinearScratchFloats;
    kernels_.linear(share);
  });
}

// Items: some panels with every block of row groups in turn, so that one thread reads a panel from memory and
// finds it again in its cache.
void CpuBackend::run_blocked(const LinearTask& whole, std::int64_t panels, bool tiles) {
  const std::int64_t group_rows = tiles ? kTileRows : (whole.rows + whole.groups - 1) / whole.groups;
  const std::int64_t groups_per_block = kBlockMaxRows / group_rows;
  const std::int64_t row_blocks = (whole.groups + groups_per_block - 1) / groups_per_block;
  const std::int64_t width =
      std::clamp<std::int64_t>(panels / (2 * pool_.threads()), 1, tiles ? kTilePanels : kBlockPanels);
  const std::int64_t columns = (panels + width - 1) / width;
  pool_.run_claimed(columns, 1, [&](int thread, std::int64_t column, std::int64_t) {
    for (std::int64_t block = 0; block < row_blocks; ++block) {
      LinearTask share = whole;
      share.group_begin = static_cast<int>(whole.groups * block / row_blocks);
      share.group_end = static_cast<int>(whole.groups * (block + 1) / row_blocks);
      share.panel_begin = column * width;
      share.panel_end = std::min(panels, (column + 1) * width);
      share.scratch = linear_scratch_.floats() + thread * kLinearScratchFloats;
      kernels_.linear(share);
    }
  });
}

void CpuBackend::add_partials(std::span<const float> partials, int ranks, std::span<const float> bias,
                              FloatMatrix residual) {
  const std::int64_t n = residual.cols, rank_stride = residual.rows * n;
  LEADLINE_CHECK(ranks >= 1 && ranks < (1 << (kTreeLevels - 1)), "add_partials: ranks");
  LEADLINE_CHECK(static_cast<std::int64_t>(partials.size()) == ranks * rank_stride, "add_partials: shapes");
  LEADLINE_CHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == n, "add_partials: bias");
  over_rows(residual.rows, n * ranks, [&](std::int64_t r) {
    kernels_.add_partials(partials.data() + r * n, ranks, rank_stride, bias.empty() ? nullptr : bias.data(),
                          n, residual.row(r));
  });
}

void CpuBackend::silu_mul(ConstFloatMatrix gate_up, FloatMatrix out) {
  LEADLINE_CHECK(gate_up.rows == out.rows && gate_up.cols == 2 * out.cols, "silu_mul: shapes");
  over_rows(out.rows, 4 * out.cols, [&](std::int64_t r) {
    kernels_.silu_mul(gate_up.row(r), gate_up.row(r) + out.cols, out.cols, out.row(r));
  });
}

void CpuBackend::gather_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) {
  LEADLINE_CHECK(static_cast<std::int64_t>(rows.size()) == out.rows && x.cols == out.cols,
                 "gather_rows: shapes");
  for (std::int64_t r = 0; r < out.rows; ++r) {
    const std::int64_t from = rows[static_cast<std::size_t>(r)];
    LEADLINE_CHECK(from >= 0 && from < x.rows, "gather_rows: row outside the matrix");
    std::memcpy(out.row(r), x.row(from), static_cast<std::size_t>(x.cols) * sizeof(float));
  }
}

void CpuBackend::copy_unit(KvPool& pool, std::uint32_t from, std::uint32_t to) {
  auto& p = static_cast<CpuKvPool&>(pool);
  LEADLINE_CHECK(from < p.units() && to < p.units(), "copy_unit: unit outside the pool");
  if (from != to) std::memcpy(p.unit(to), p.unit(from), static_cast<std::size_t>(p.unit_bytes()));
}

void CpuBackend::read_unit(const KvPool& pool, std::uint32_t unit, std::byte* host) {
  const auto& p = static_cast<const CpuKvPool&>(pool);
  LEADLINE_CHECK(unit < p.units(), "read_unit: unit outside the pool");
  std::memcpy(host, p.unit(unit), static_cast<std::size_t>(p.unit_bytes()));
}

void CpuBackend::write_unit(KvPool& pool, std::uint32_t unit, const std::byte* host) {
  auto& p = static_cast<CpuKvPool&>(pool);
  LEADLINE_CHECK(unit < p.units(), "write_unit: unit outside the pool");
  std::memcpy(p.unit(unit), host, static_cast<std::size_t>(p.unit_bytes()));
}

}  // namespace leadline::worker::cpu
