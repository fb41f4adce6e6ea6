// The stages of an 8 B Llama's layer (hidden 4096, FFN 14336, 32 heads of 128, 8 KV heads) on one GPU, bf16:
// one JSON line each, with its share of what a copy in the same run moves (bytes read and written). Not a
// whole model: layers repeat over weights that do not fit the caches. tests/gpu/run.sh calls it.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "worker/backend/cuda/cuda_backend.h"

namespace leadline::worker::cuda {
namespace {

constexpr std::int64_t kHidden = 4096, kFfn = 14336, kQkv = 6144;
constexpr std::int32_t kHeads = 32, kKvHeads = 8, kDim = 128;
constexpr int kLayers = 4;

struct Bench {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Buffer> memory;
  double copy_gb_per_s = 0;

  // Best of five batches of `repeats`; the host's clock around a drained stream.
  double seconds(int repeats, const std::function<void()>& body) {
    char drained = 0;
    double best = 1e9;
    body();
    backend->download(&drained, memory->data(), 1);
    for (int batch = 0; batch < 5; ++batch) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < repeats; ++i) body();
      backend->download(&drained, memory->data(), 1);
      best = std::min(
          best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats);
    }
    return best;
  }
  void report(const char* stage, std::int64_t rows, double s, double bytes, double operations) {
    std::printf(
        "{\"stage\": \"%s\", \"rows\": %lld, \"us\": %.1f, \"GB/s\": %.0f, \"of copy\": %.2f, \"TFLOP/s\": "
        "%.1f}\n",
        stage, static_cast<long long>(rows), s * 1e6, bytes / s / 1e9, bytes / s / 1e9 / copy_gb_per_s,
        operations / s / 1e12);
    std::fflush(stdout);
  }
  [[nodiscard]] FloatMatrix at(std::int64_t rows, std::int64_t cols, std::int64_t megabytes) const {
    return {static_cast<float*>(memory->data()) + megabytes * (1 << 18), rows, cols};
  }
};

void products(Bench& b, DType format, const std::string& note = "") {
  std::vector<float> values(static_cast<std::size_t>(2 * kFfn * kHidden));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 997) * 1e-3F - 0.5F;
  const auto pack = [&](std::int64_t n, std::int64_t k, int slices) {
    const WeightPart part{values.data(), DType::f32, n, k, k};
    return std::move(*b.backend->pack(std::span(&part, 1), format, slices));
  };
  std::vector<std::unique_ptr<PackedMatrix>> qkv, o, gate_up, down;
  double bytes = 0;
  for (int i = 0; i < kLayers; ++i) {
    qkv.push_back(pack(kQkv, kHidden, 1));
    o.push_back(pack(kHidden, kHidden, 8));
    gate_up.push_back(pack(2 * kFfn, kHidden, 1));
    down.push_back(pack(kHidden, kFfn, 8));
    for (const auto* m : {&qkv, &o, &gate_up, &down}) bytes += static_cast<double>(m->back()->bytes());
  }
  const double weights = static_cast<double>(kLayers) * kHidden * (kQkv + kHidden + 3.0 * kFfn);
  for (std::int64_t rows : {1, 4, 16, 64, 512, 2048}) {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows), 0);
    std::vector<SequenceRows> sequences(1);
    sequences[0].rows = static_cast<std::int32_t>(rows);
    sequences[0].decode = rows <= 64;
    std::vector<std::uint32_t> table(static_cast<std::size_t>(rows / 16 + 1));
    sequences[0].kv.table = table.data();
    b.backend->begin_step({tokens, sequences, {}});
    const double s = b.seconds(rows > 64 ? 5 : 20, [&] {
      for (std::size_t i = 0; i < qkv.size(); ++i) {
        b.backend->linear(b.at(rows, kHidden, 0), *qkv[i], {}, b.at(rows, kQkv, 128));
        b.backend->linear_sliced(b.at(rows, kHidden, 0), *o[i], b.at(rows, kHidden, 128));
        b.backend->linear(b.at(rows, kHidden, 0), *gate_up[i], {}, b.at(rows, 2 * kFfn, 128));
        b.backend->linear_sliced(b.at(rows, kFfn, 0), *down[i], b.at(rows, kHidden, 128));
      }
    });
    b.backend->end_step();
    const std::string stage = "products of 4 layers, " + std::string(transport::name_of(format)) + note;
    b.report(stage.c_str(), rows, s, bytes, 2 * weights * static_cast<double>(rows));
  }
}

void attention(Bench& b, std::int32_t sequences, std::int32_t rows, std::int32_t context, DType kv) {
  const std::uint32_t pages = static_cast<std::uint32_t>(context + 15) / 16;
  auto pool = std::move(
      *b.backend->allocate_kv({pages * kKvHeads * static_cast<std::uint32_t>(sequences), kDim, kv}));
  std::vector<std::uint32_t> table(static_cast<std::size_t>(pages) * static_cast<std::size_t>(sequences));
  std::iota(table.begin(), table.end(), 0U);
  std::vector<SequenceRows> steps(static_cast<std::size_t>(sequences));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    steps[i].first_row = static_cast<std::int32_t>(i) * rows;
    steps[i].rows = rows;
    steps[i].kv_before = context - rows;
    steps[i].kv.table = table.data() + i * pages;
    steps[i].kv.scale = kKvHeads;
    steps[i].kv.head_step = 1;
    steps[i].decode = rows == 1;
  }
  const std::int64_t all = std::int64_t{sequences} * rows;
  const std::vector<std::int32_t> tokens(static_cast<std::size_t>(all), 0);
  const AttentionShape shape{kHeads, kKvHeads, kDim, 0.0884F, 0};
  b.backend->begin_step({tokens, steps, {}});
  const double s = b.seconds(10, [&] {
    b.backend->attention(b.at(all, kQkv, 0), shape, steps, *pool, b.at(all, kHidden, 256), {});
  });
  b.backend->end_step();
  const double bytes = static_cast<double>(pool->unit_bytes()) * pool->units();
  const double seen = static_cast<double>(all) * (context - (rows - 1) / 2.0);
  const std::string stage = "attention, " + std::to_string(sequences) + " sequences, context " +
                            std::to_string(context) + ", pages " + std::string(transport::name_of(kv));
  b.report(stage.c_str(), all, s, bytes, 4 * seen * kHeads * kDim);
}

// What rank invariance (X2) costs on one GPU: slices against whole products, and the tree over gathered
// partials where an all-reduce would have summed on its way. The collectives themselves need several GPUs:
// all_gather of R partials moves R times what an all-reduce's result holds.
void rank_invariance(Bench& b) {
  for (const int ranks : {2, 4, 8}) {
    for (const std::int64_t rows : {1, 64, 512}) {
      const FloatMatrix residual = b.at(rows, kHidden, 0);
      const std::span<const float> partials(b.at(rows, kHidden, 128).data,
                                            static_cast<std::size_t>(ranks * rows * kHidden));
      const double s = b.seconds(20, [&] { b.backend->add_partials(partials, ranks, {}, residual); });
      b.report(("tree over " + std::to_string(ranks) + " ranks' partials").c_str(), rows, s,
               static_cast<double>(rows * kHidden * 4 * (ranks + 2)), 0);
    }
  }
}

// 128,256 ids: tokens chosen on the device, and what copying the logits would take.
void sampling(Bench& b) {
  constexpr std::int64_t kVocab = 128'256;
  for (const std::int64_t rows : {1, 16, 64}) {
    const FloatMatrix logits = b.at(rows, kVocab, 0);
    std::vector<TokenChoiceRow> asked(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < asked.size(); ++i) {
      asked[i].logit_row = static_cast<std::int32_t>(i);
      asked[i].allowed_vocab = kVocab;
      asked[i].top_p = 0.9F;
      asked[i].top_k = 50;
      asked[i].min_p_edge = 1;
    }
    std::vector<TokenChoice> out(asked.size());
    const double bytes = static_cast<double>(rows * kVocab * 4);
    b.report("sampling, top-k 50, top-p 0.9", rows,
             b.seconds(10, [&] { b.backend->choose_tokens(logits, asked, {}, out); }), bytes, 0);
    std::vector<float> host(static_cast<std::size_t>(rows * kVocab));
    b.report("logits to the host", rows,
             b.seconds(10, [&] { b.backend->download(host.data(), logits.data, rows * kVocab * 4); }), bytes,
             0);
  }
}

int run() {
  auto device = open_device(0);
  if (!device) return std::printf("%s\n", device.error().message.c_str()), 1;
  Bench b;
  b.backend = std::move(*CudaBackend::create(std::move(*device), {}));
  b.memory = std::move(*b.backend->allocate(std::int64_t{768} << 20, "bench"));
  const FloatMatrix from = b.at(4096, 16384, 0), to = b.at(4096, 16384, 256);
  std::vector<std::int32_t> ids(4096);
  std::iota(ids.begin(), ids.end(), 0);
  const double s = b.seconds(10, [&] { b.backend->gather_rows(from, ids, to); });
  b.copy_gb_per_s = 2.0 * 4096 * 16384 * 4 / s / 1e9;
  b.report("copy", 4096, s, 2.0 * 4096 * 16384 * 4, 0);
  for (DType format : {DType::bf16, DType::fp8, DType::i4}) products(b, format);
  attention(b, 1, 1, 1024, DType::bf16);
  attention(b, 64, 1, 4096, DType::bf16);
  attention(b, 64, 1, 4096, DType::fp8);
  attention(b, 1, 1, 32768, DType::bf16);
  attention(b, 1, 512, 4096, DType::bf16);
  sampling(b);
  rank_invariance(b);
  b.memory.reset();
  b.backend.reset();
  auto again = open_device(0);
  if (!again) return std::printf("%s\n", again.error().message.c_str()), 1;
  BackendOptions whole;
  whole.rank_invariant = false;
  b.backend = std::move(*CudaBackend::create(std::move(*again), whole));
  b.memory = std::move(*b.backend->allocate(std::int64_t{768} << 20, "bench"));
  products(b, DType::bf16, ", without rank invariance");
  return 0;
}

}  // namespace
}  // namespace leadline::worker::cuda

int main() {
  return leadline::worker::cuda::run();
}
