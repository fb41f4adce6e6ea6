#include "worker/backend/backend.h"
#include "monitoring/check.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "worker/backend/cpu/core_placement.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/cpu/cpu_dispatch.h"
#include "worker/backend/cpu/machine_topology.h"

namespace leadline::worker {

namespace {

constexpr int kMaxThreads = 256;

Result<std::unique_ptr<Backend>> make_cpu(const BackendOptions& options) {
  std::string isa = options.isa;
  const char* from_environment = std::getenv("LEADLINE_CPU_ISA");
  if (isa.empty() && from_environment) isa = from_environment;
  const auto kernels = cpu::select_kernels(isa);
  if (!kernels) return tl::unexpected(kernels.error());
  if (options.threads < 0 || options.threads > kMaxThreads)
    return monitoring::fail(Errc::configuration, "threads " + std::to_string(options.threads) +
                                                     ": not in 0.." + std::to_string(kMaxThreads));
  if (options.ranks_on_host < 1 || options.rank_on_host < 0 || options.rank_on_host >= options.ranks_on_host)
    return monitoring::fail(Errc::configuration, "rank_on_host " + std::to_string(options.rank_on_host) +
                                                     " of ranks_on_host " +
                                                     std::to_string(options.ranks_on_host));
  const cpu::CpuTopology& topology = cpu::machine_topology();
  const cpu::Placement placement =
      cpu::place_threads(topology, {options.threads, options.rank_on_host, options.ranks_on_host});
  cpu::prefer_nodes(placement.nodes);
  cpu::ThreadPoolOptions pool;
  pool.threads = placement.threads;
  pool.cores = placement.cores;
  pool.may_spin = !placement.cores.empty();
  if (options.log) {
    options.log("cpu backend: kernels " + std::string((*kernels)->name) +
                (isa.empty() ? " (best here)" : " (asked for)") + ", " + describe(topology, placement));
  }
  return cpu::CpuBackend::create(**kernels, pool);
}

CudaCandidate cuda_candidate;  // set once, before other threads exist

bool cuda_usable() {
  return cuda_candidate.usable != nullptr && cuda_candidate.usable();
}

Result<std::unique_ptr<Backend>> make_cuda(const BackendOptions& options) {
  if (cuda_candidate.make != nullptr) return cuda_candidate.make(options);
  return monitoring::fail(
      Errc::configuration,
      "device cuda: this build has no CUDA backend (built without the CUDA toolkit); use cpu or auto");
}

struct BackendCandidate {
  std::string_view device;
  bool (*usable)();
  Result<std::unique_ptr<Backend>> (*make)(const BackendOptions&);
};

// In order of preference for "auto".
const BackendCandidate kCandidates[] = {
    {"cuda", cuda_usable, make_cuda},
    {"cpu", [] { return true; }, make_cpu},
};

}  // namespace

void Backend::upload(void* device, const void* host, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(device, host, static_cast<std::size_t>(bytes));
}

void Backend::download(void* host, const void* device, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(host, device, static_cast<std::size_t>(bytes));
}

Result<WeightPart> Backend::resident(const WeightPart& table, std::unique_ptr<Buffer>&) {
  return table;
}

Result<std::unique_ptr<PackedMatrix>> Backend::restore(const PackedShape&, std::int64_t,
                                                       const PackedReader&) {
  return monitoring::fail(Errc::configuration, "this backend restores no packed weights");
}

Result<std::unique_ptr<PackedMatrix>> Backend::adopt(const PackedShape&, const PackedBytes&,
                                                     const PackedCheck&) {
  return monitoring::fail(Errc::configuration, "this backend keeps no weights in files");
}

void Backend::scatter_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) {
  LEADLINE_CHECK(static_cast<std::int64_t>(rows.size()) == x.rows && x.cols == out.cols,
                 "scatter_rows: shapes");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    LEADLINE_CHECK(rows[i] >= 0 && rows[i] < out.rows, "scatter_rows: row outside the matrix");
    std::memcpy(out.row(rows[i]), x.row(static_cast<std::int64_t>(i)),
                static_cast<std::size_t>(x.cols) * sizeof(float));
  }
}

bool Backend::choose_tokens(ConstFloatMatrix, std::span<const TokenChoiceRow>, std::span<const LogitEdit>,
                            std::span<TokenChoice>) {
  return false;
}

void Backend::features(ConstFloatMatrix logits, std::int32_t vocab, std::span<LogitFeatures> out) {
  LEADLINE_CHECK(host_addressable(), "features of logits in device memory are the device's to make");
  LEADLINE_CHECK(static_cast<std::int64_t>(out.size()) == logits.rows && vocab > 0 && vocab <= logits.cols,
                 "features: shapes");
  for (std::int64_t r = 0; r < logits.rows; ++r)
    out[static_cast<std::size_t>(r)] = features_of(logits.row(r), vocab);
}

void Backend::read_units(const KvPool& pool, std::span<const std::uint32_t> units, std::byte* host) {
  for (std::size_t i = 0; i < units.size(); ++i)
    read_unit(pool, units[i], host + i * static_cast<std::size_t>(pool.unit_bytes()));
}

void Backend::write_units(KvPool& pool, std::span<const std::uint32_t> units, const std::byte* host) {
  for (std::size_t i = 0; i < units.size(); ++i)
    write_unit(pool, units[i], host + i * static_cast<std::size_t>(pool.unit_bytes()));
}

void register_cuda(const CudaCandidate& candidate) {
  cuda_candidate = candidate;
}

Result<std::unique_ptr<Backend>> make_backend(const BackendOptions& options) {
  const bool any = options.device == "auto" || options.device.empty();
  for (const BackendCandidate& candidate : kCandidates) {
    if (any ? candidate.usable() : candidate.device == options.device) return candidate.make(options);
  }
  return monitoring::fail(Errc::configuration, "device " + options.device + ": not one of auto, cpu, cuda");
}

}  // namespace leadline::worker
