// The host's side of CudaBackend against the recording device: what is asked for, in which order, on which
// stream.

#include "worker/backend/cuda/cuda_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "tests/support/device_backends.h"
#include "tests/support/staged_backend.h"
#include "worker/backend/cuda/emulator/emulated_runtime.h"

namespace leadline::worker::cuda {
namespace {

constexpr std::int32_t kDim = 16, kHeads = 4, kKvHeads = 2, kHidden = 64;

// A backend over a device that records and does not compute, and what a small model's step needs.
struct Recorded {
  EmulatedRuntime* device = nullptr;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<KvPool> pool;
  std::unique_ptr<PackedMatrix> matrix;
  std::unique_ptr<Buffer> memory;
  std::vector<std::uint32_t> table = std::vector<std::uint32_t>(64);

  explicit Recorded(BackendOptions options = {}) {
    EmulatedRuntime::Options emulated;
    emulated.total_bytes = 64 << 20;
    emulated.runs_kernels = false;
    auto runtime = std::make_unique<EmulatedRuntime>(emulated);
    device = runtime.get();
    backend = std::move(*CudaBackend::create(std::move(runtime), options));
    pool = std::move(*backend->allocate_kv({256, kDim, DType::bf16}));
    memory = std::move(*backend->allocate(1 << 20, "activations"));
    std::iota(table.begin(), table.end(), 0U);
    const std::vector<float> weights(static_cast<std::size_t>(128 * kHidden), 0.5F);
    const WeightPart part{weights.data(), DType::f32, 128, kHidden, kHidden};
    matrix = std::move(*backend->pack(std::span(&part, 1), DType::bf16, 1));
  }
  [[nodiscard]] FloatMatrix view(std::int64_t rows, std::int64_t cols) const {
    return {static_cast<float*>(memory->data()), rows, cols};
  }
  SequenceRows sequence(std::int32_t first, std::int32_t rows, std::int32_t before, bool decode) {
    SequenceRows s;
    s.first_row = first;
    s.rows = rows;
    s.first_position = s.kv_before = before;
    s.kv.table = table.data();
    s.kv.scale = kKvHeads;
    s.kv.head_step = 1;
    s.decode = decode;
    return s;
  }
  void layer(std::span<const SequenceRows> sequences, std::int64_t rows) {
    const AttentionShape shape{kHeads, kKvHeads, kDim, 0.25F, 0};
    const FloatMatrix qkv = view(rows, (kHeads + 2 * kKvHeads) * kDim);
    const RopeTable rope{qkv.data, qkv.data, 4096};
    backend->rms_norm(view(rows, kHidden), {qkv.data, kHidden}, 1e-5F, view(rows, kHidden));
    backend->linear(view(rows, kHidden), *matrix, {}, view(rows, 128));
    backend->rope_write_kv(qkv, shape, rope, {}, sequences, *pool);
    backend->attention(qkv, shape, sequences, *pool, view(rows, kHeads * kDim), {});
  }
  void step(const std::vector<std::int32_t>& tokens, std::vector<SequenceRows>& sequences, int layers) {
    const std::vector<std::int32_t> logit_rows = {0};
    backend->begin_step({tokens, sequences, logit_rows});
    ASSERT_TRUE(backend->run_recorded(1, [&]() -> Result<void> {
      for (int i = 0; i < layers; ++i) {
        for (SequenceRows& s : sequences) s.kv.base = static_cast<std::uint32_t>(i);
        layer(sequences, static_cast<std::int64_t>(tokens.size()));
      }
      for (SequenceRows& s : sequences) s.kv.base = 0;
      return {};
    }));
    backend->end_step();
  }
  [[nodiscard]] std::vector<std::string> calls() const {
    std::vector<std::string> names;
    for (const RecordedCall& call : device->calls()) names.push_back(call.what);
    return names;
  }
  [[nodiscard]] std::int64_t count(const std::string& what) const {
    const auto names = calls();
    return std::count(names.begin(), names.end(), what);
  }
};

TEST(CudaBackend, AStepSendsItsTablesOnceAndWaitsForNothing) {
  Recorded r;
  const std::vector<std::int32_t> tokens(37, 0);
  std::vector<SequenceRows> sequences = {r.sequence(0, 36, 100, false), r.sequence(36, 1, 300, true)};
  r.step(tokens, sequences, 3);  // the first one learns the model's heads
  r.device->calls().clear();
  r.step(tokens, sequences, 3);
  EXPECT_EQ(r.count("copy to_device"), 1);
  EXPECT_EQ(r.count("synchronize"), 0);
  EXPECT_EQ(r.count("copy to_host"), 0);
  EXPECT_GT(r.count("launch"), 9);
  for (const RecordedCall& call : r.device->calls()) {
    if (call.what == "wait_on_host") {
      EXPECT_EQ(call.stage, "step tables") << "only for a staging buffer that was sent two sends ago";
      EXPECT_EQ(&call, &r.device->calls().front()) << "and before anything else of the step";
    }
  }
}

TEST(CudaBackend, RowsOfOneStepAreCutIntoRunsOfOneClass) {
  Recorded r;
  const std::vector<std::int32_t> tokens(9, 0);
  std::vector<SequenceRows> sequences = {r.sequence(0, 1, 20, true), r.sequence(1, 2, 5, true),
                                         r.sequence(3, 5, 0, false), r.sequence(8, 1, 40, true)};
  r.device->calls().clear();
  r.step(tokens, sequences, 1);
  std::vector<std::pair<ProductClass, std::int64_t>> runs;
  for (const RecordedCall& call : r.device->calls())
    if (call.what == "multiply") runs.emplace_back(call.product.product_class, call.product.rows);
  using enum ProductClass;
  EXPECT_EQ(runs,
            (std::vector<std::pair<ProductClass, std::int64_t>>{{decode, 3}, {prefill, 5}, {decode, 1}}));
}

TEST(CudaBackend, DecodeStepsAreRecordedOnTheirSecondRunAndThenReplayed) {
  Recorded r;
  auto& backend = static_cast<CudaBackend&>(*r.backend);
  const std::vector<std::int32_t> tokens(2, 0);
  std::vector<SequenceRows> sequences = {r.sequence(0, 1, 20, true), r.sequence(1, 1, 300, true)};
  for (int i = 0; i < 3; ++i) r.step(tokens, sequences, 2);  // learns the heads, grows, records
  EXPECT_EQ(backend.recorded_steps(), 1U);
  r.device->calls().clear();
  sequences[0].kv_before = sequences[0].first_position = 21;  // goes on: the same record serves
  r.step(tokens, sequences, 2);
  EXPECT_EQ(r.count("launch_graph"), 1);
  EXPECT_EQ(r.count("launch"), 0);
  EXPECT_EQ(r.count("copy to_device"), 1);
  sequences[1].kv_before = 520;  // needs more splits than the record's
  r.device->calls().clear();
  r.step(tokens, sequences, 2);
  EXPECT_EQ(r.count("launch_graph"), 0);
  const std::vector<std::int32_t> prompt(8, 0);
  std::vector<SequenceRows> prefill = {r.sequence(0, 8, 0, false)};
  for (int i = 0; i < 3; ++i) r.step(prompt, prefill, 2);
  EXPECT_EQ(r.count("begin_capture"), 0) << "prompts are not recorded";
}

TEST(CudaBackend, PoisonFillsEveryOutputFirst) {
  BackendOptions options;
  options.poison = true;
  Recorded r(options);
  r.device->calls().clear();
  r.backend->silu_mul(r.view(3, 128), FloatMatrix(static_cast<float*>(r.memory->data()) + 4096, 3, 64));
  EXPECT_EQ(r.calls(), (std::vector<std::string>{"fill", "fill", "fill", "launch"}));
}

TEST(CudaBackend, PageSwapsAreOrderedByEventsOnAStreamOfTheirOwn) {
  Recorded r;
  std::vector<std::byte> host(static_cast<std::size_t>(3 * r.pool->unit_bytes()));
  const std::vector<std::uint32_t> units = {7, 2, 9};
  r.device->calls().clear();
  r.backend->read_units(*r.pool, units, host.data());
  auto& calls = r.device->calls();
  EXPECT_EQ(r.calls(), (std::vector<std::string>{"record", "wait", "copy to_host", "copy to_host",
                                                 "copy to_host", "record", "wait_on_host"}));
  const StreamId step = r.backend->stream(), copies = calls[1].stream;
  EXPECT_EQ(calls[0].stream, step);
  EXPECT_NE(copies, step);
  EXPECT_EQ(calls[0].event, calls[1].event);
  EXPECT_EQ(calls[2].stream, copies);
  EXPECT_EQ(calls[5].event, calls[6].event);
  calls.clear();
  r.backend->write_units(*r.pool, units, host.data());
  EXPECT_EQ(r.calls(), (std::vector<std::string>{"record", "wait", "copy to_device", "copy to_device",
                                                 "copy to_device", "record", "wait"}));
  EXPECT_EQ(calls[6].stream, step) << "steps wait for the copy, the host does not";
  EXPECT_EQ(calls[6].event, calls[5].event);
  calls.clear();
  r.backend->write_units(*r.pool, units, host.data());
  EXPECT_EQ(calls[2].what, "wait_on_host") << "staging is still on its way";
}

TEST(CudaBackend, OldChipsAndFullOnesAreRefusedWithTheNumbers) {
  EmulatedRuntime::Options old;
  old.major = 7;
  old.minor = 5;
  auto refused = CudaBackend::create(std::make_unique<EmulatedRuntime>(old), {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("sm_75"), std::string::npos);
  Recorded r;
  const auto pool = r.backend->allocate_kv({1 << 20, kDim, DType::bf16});
  ASSERT_FALSE(pool.has_value());
  EXPECT_EQ(pool.error().code, Errc::out_of_memory);
  EXPECT_NE(pool.error().message.find("KV pool"), std::string::npos) << pool.error().message;
  EXPECT_GT(r.backend->free_bytes(), 0);
  EXPECT_LT(r.backend->free_bytes(), 64 << 20);
}

TEST(CudaBackend, LaunchesAreNamedAndInsideTheChipsLimits) {
  Recorded r;
  const std::vector<std::int32_t> tokens(512, 0);
  std::vector<SequenceRows> sequences = {r.sequence(0, 512, 400, false)};
  r.step(tokens, sequences, 1);  // the recording device checks grids, shared memory and sizes of arguments
  for (const RecordedCall& call : r.device->calls()) {
    if (call.what == "launch") {
      EXPECT_FALSE(call.stage.empty());
    }
  }
}

std::unique_ptr<Backend> emulated() {
  auto device = tests::device_backend("cuda_emulated");
  return device ? tests::make_staged(std::move(device)) : nullptr;
}

// fp8 and int4 weights against the exact product, by the worst error over the norm.
TEST(CudaBackend, QuantisedWeightsComeNearTheExactProduct) {
  if (tests::usable_devices().empty()) GTEST_SKIP() << "the emulated device does not run under sanitizers";
  const auto backend = emulated();
  const std::int64_t rows = 5, n = 48, k = 256;
  std::vector<float> w(static_cast<std::size_t>(n * k)), x(static_cast<std::size_t>(rows * k));
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = std::sin(0.37F * static_cast<float>(i));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::cos(0.73F * static_cast<float>(i));
  const WeightPart part{w.data(), DType::f32, n, k, k};
  for (const auto& [format, bound] : {std::pair{DType::fp8, 0.02}, {DType::i4, 0.03}}) {
    for (int slices : {1, 4}) {
      auto packed = backend->pack(std::span(&part, 1), format, slices);
      ASSERT_TRUE(packed.has_value());
      EXPECT_LT((*packed)->bytes(), n * k + n * k / 4);
      std::vector<float> out(static_cast<std::size_t>(rows * n), std::nanf(""));
      backend->linear_sliced(ConstFloatMatrix(x.data(), rows, k), **packed, FloatMatrix(out.data(), rows, n));
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < n; ++j) {
          double sum = 0, norm = 0;
          for (std::int64_t i = 0; i < k; ++i) {
            const double term = double(x[size_t(r * k + i)]) * w[size_t(j * k + i)];
            sum += term;
            norm += std::fabs(term);
          }
          ASSERT_NEAR(out[size_t(r * n + j)], sum, bound * norm)
              << transport::name_of(format) << " " << slices;
        }
      }
    }
  }
}

TEST(CudaBackend, FeaturesAreThoseOfTheLogits) {
  if (tests::usable_devices().empty()) GTEST_SKIP() << "the emulated device does not run under sanitizers";
  auto device = tests::device_backend("cuda_emulated");
  auto& backend = static_cast<CudaBackend&>(*device);
  std::vector<float> logits(2 * 1000);
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = 3 * std::sin(0.9F * static_cast<float>(i * i % 997));
  logits[700] = logits[3] = 9;  // a tie: the smaller id first
  logits[999] = 100;            // beyond the vocabulary
  logits[1005] = -std::numeric_limits<float>::infinity();
  auto buffer = std::move(*device->allocate(8000, "logits"));
  device->upload(buffer->data(), logits.data(), 8000);
  std::vector<LogitFeatures> got(2);
  backend.features(ConstFloatMatrix(static_cast<const float*>(buffer->data()), 2, 1000), 990, got);
  for (std::size_t r = 0; r < 2; ++r) {
    double sum = 0, entropy = 0;
    std::vector<std::pair<float, int>> order;
    for (int i = 0; i < 990; ++i) {
      sum += std::exp(double(logits[r * 1000 + size_t(i)]));
      order.emplace_back(-logits[r * 1000 + size_t(i)], i);
    }
    for (int i = 0; i < 990; ++i) {
      const double p = std::exp(double(logits[r * 1000 + size_t(i)])) / sum;
      if (p > 0) entropy -= p * std::log(p);
    }
    std::sort(order.begin(), order.end());
    EXPECT_NEAR(got[r].log_sum, std::log(sum), 1e-5);
    EXPECT_NEAR(got[r].entropy, entropy, 1e-4);
    for (std::size_t i = 0; i < kFeatureTop; ++i) {
      EXPECT_EQ(got[r].ids[i], order[i].second);
      EXPECT_EQ(got[r].top[i], -order[i].first);
    }
  }
}

}  // namespace
}  // namespace leadline::worker::cuda
