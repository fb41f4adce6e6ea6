// The ops of the CPU backend at the shape of a 1.1 B Llama (hidden 2048, FFN 5632, 32 heads of 64, 4 KV
// heads): GB/s of weights or KV, GFLOP/s, and their share of what a probe in the same run measures (read
// bandwidth, f32 multiply-add rate). "layers": the four products of several layers in turn, so that weights
// come from memory and not from a cache. Environment: LEADLINE_BENCH_THREADS (default: all cores),
// LEADLINE_BENCH_LAYERS (default 8), LEADLINE_CPU_ISA.

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "deploy/cli/machine_probe.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/machine_topology.h"

namespace leadline::worker {
namespace {

constexpr std::int64_t kHidden = 2048, kFfn = 5632, kQkv = 2560, kVocab = 32000;
constexpr std::int32_t kQueryHeads = 32, kKvHeads = 4, kHeadDim = 64;

int from_environment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

struct Machine {
  int threads = from_environment("LEADLINE_BENCH_THREADS", cpu::available_cores());
  deploy::MachineProbe probe = deploy::probe_machine(threads);
  std::unique_ptr<Backend> backend;

  Machine() {
    BackendOptions options;
    options.threads = threads;
    options.log = [](std::string_view line) { std::printf("%.*s\n", int(line.size()), line.data()); };
    auto made = make_backend(options);
    if (!made) std::printf("%s\n", made.error().message.c_str()), std::exit(1);
    backend = std::move(*made);
    std::printf("probe: read %.1f GB/s, multiply-add %.0f GFLOP/s f32\n", probe.read_gb_per_s,
                probe.f32_gflop_per_s);
  }
};
Machine& machine() {
  static Machine m;
  return m;
}

std::vector<float> values(std::int64_t n) {
  std::vector<float> v(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (float& x : v) x = float(std::int32_t(state = state * 1664525u + 1013904223u) >> 8) * 1e-7f;
  return v;
}

std::unique_ptr<PackedMatrix> packed(std::int64_t n, std::int64_t k, DType format, int slices) {
  static const std::vector<float> source = values(kVocab * kHidden);
  WeightPart part{source.data(), DType::f32, n, k, k};
  auto m = machine().backend->pack(std::span(&part, 1), format, slices);
  if (!m) std::printf("%s\n", m.error().message.c_str()), std::exit(1);
  return std::move(*m);
}

void report(benchmark::State& state, double bytes, double operations) {
  const double steps = double(state.iterations());
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(bytes * steps / 1e9, Counter::kIsRate);
  state.counters["GFLOP/s"] = Counter(operations * steps / 1e9, Counter::kIsRate);
  state.counters["of_read"] = Counter(bytes * steps / 1e9 / machine().probe.read_gb_per_s, Counter::kIsRate);
  state.counters["of_fma"] =
      Counter(operations * steps / 1e9 / machine().probe.f32_gflop_per_s, Counter::kIsRate);
}

struct Layers {
  std::vector<std::unique_ptr<PackedMatrix>> qkv, o, gate_up, down;
  double bytes = 0, elements = 0;

  explicit Layers(DType format) {
    for (int i = 0; i < from_environment("LEADLINE_BENCH_LAYERS", 8); ++i) {
      qkv.push_back(packed(kQkv, kHidden, format, 1));
      o.push_back(packed(kHidden, kHidden, format, 8));
      gate_up.push_back(packed(2 * kFfn, kHidden, format, 1));
      down.push_back(packed(kHidden, kFfn, format, 8));
      for (const auto* m : {&qkv, &o, &gate_up, &down}) {
        bytes += double(m->back()->bytes());
        elements += double(m->back()->out_features() * m->back()->in_features());
      }
    }
  }
};
Layers& layers(DType format) {
  static std::unique_ptr<Layers> kept;  // one format at a time: memory
  static DType kept_format;
  if (!kept || kept_format != format) {
    kept.reset();
    kept = std::make_unique<Layers>(format);
    kept_format = format;
  }
  return *kept;
}

void layers_products(benchmark::State& state) {
  const auto format = static_cast<DType>(state.range(0));
  const std::int64_t rows = state.range(1);
  Layers& m = layers(format);
  Backend& backend = *machine().backend;
  const std::vector<float> x = values(rows * kFfn);
  std::vector<float> out(static_cast<std::size_t>(rows * 2 * kFfn));
  const ConstFloatMatrix hidden(x.data(), rows, kHidden), ffn(x.data(), rows, kFfn);
  for (auto _ : state) {
    for (std::size_t i = 0; i < m.qkv.size(); ++i) {
      backend.linear(hidden, *m.qkv[i], {}, FloatMatrix(out.data(), rows, kQkv));
      backend.linear_sliced(hidden, *m.o[i], FloatMatrix(out.data(), rows, kHidden));
      backend.linear(hidden, *m.gate_up[i], {}, FloatMatrix(out.data(), rows, 2 * kFfn));
      backend.linear_sliced(ffn, *m.down[i], FloatMatrix(out.data(), rows, kHidden));
    }
  }
  report(state, m.bytes, 2 * double(rows) * m.elements);
  state.SetLabel(std::string(transport::name_of(format)) + ", " + std::to_string(rows) + " rows");
}
BENCHMARK(layers_products)
    ->ArgsProduct({{int(DType::bf16), int(DType::i8), int(DType::f16), int(DType::f32)},
                   {1, 2, 4, 6, 8, 16, 64, 512}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// `rows` rows that each see `context` slots, as decode (one sequence, 1 row) or as the last rows of a
// prefill.
void attention(benchmark::State& state) {
  const auto dtype = static_cast<DType>(state.range(0));
  const auto rows = static_cast<std::int32_t>(state.range(1)),
             context = static_cast<std::int32_t>(state.range(2));
  Backend& backend = *machine().backend;
  const std::uint32_t pages = std::uint32_t(context + 15) / 16,
                      copies = rows == 1 ? 16 : 1;  // past the caches
  auto pool = backend.allocate_kv({pages * kKvHeads * copies, kHeadDim, dtype, kKvHeads});
  if (!pool) return state.SkipWithError(pool.error().message.c_str());
  std::vector<std::uint32_t> table(pages);
  std::iota(table.begin(), table.end(), 0u);
  const std::int64_t columns = (kQueryHeads + 2 * kKvHeads) * kHeadDim, width = kQueryHeads * kHeadDim;
  const std::vector<float> qkv = values(rows * columns);
  std::vector<float> out(static_cast<std::size_t>(rows * width));
  const AttentionShape shape{kQueryHeads, kKvHeads, kHeadDim, 0.125f, 0};
  SequenceRows s;
  s.rows = rows;
  s.kv_before = context - rows;
  s.kv.table = table.data();
  s.kv.scale = kKvHeads;
  s.kv.head_step = 1;
  std::uint32_t copy = 0;
  for (auto _ : state) {
    s.kv.base = copy++ % copies * pages * kKvHeads;
    backend.attention(ConstFloatMatrix(qkv.data(), rows, columns), shape, std::span(&s, 1), **pool,
                      FloatMatrix(out.data(), rows, width), {});
  }
  double seen = 0;
  for (std::int32_t r = 0; r < rows; ++r) seen += context - rows + r + 1;
  report(state, double(pages) * kKvHeads * double((*pool)->unit_bytes()), 4 * seen * kQueryHeads * kHeadDim);
  state.SetLabel(std::string(transport::name_of(dtype)) + ", " + std::to_string(rows) + " rows, context " +
                 std::to_string(context));
}
BENCHMARK(attention)
    ->Args({int(DType::bf16), 1, 1024})
    ->Args({int(DType::bf16), 1, 16384})
    ->Args({int(DType::f16), 1, 16384})
    ->Args({int(DType::f32), 1, 16384})
    ->Args({int(DType::bf16), 6, 16384})
    ->Args({int(DType::bf16), 512, 512})
    ->Args({int(DType::bf16), 512, 4096})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

void row_ops(benchmark::State& state) {
  const std::int64_t rows = state.range(0);
  Backend& backend = *machine().backend;
  const std::vector<float> x = values(rows * 2 * kFfn), weight = values(kHidden);
  std::vector<float> out(static_cast<std::size_t>(rows * kFfn));
  for (auto _ : state) {
    backend.rms_norm(ConstFloatMatrix(x.data(), rows, kHidden), weight, 1e-5f,
                     FloatMatrix(out.data(), rows, kHidden));
    backend.silu_mul(ConstFloatMatrix(x.data(), rows, 2 * kFfn), FloatMatrix(out.data(), rows, kFfn));
  }
  report(state, double(rows) * (3 * kFfn + 3 * kHidden) * 4, 0);
}
BENCHMARK(row_ops)->Arg(1)->Arg(16)->Arg(512)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace leadline::worker

BENCHMARK_MAIN();
