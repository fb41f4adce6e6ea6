// The two arithmetics of products (prompt rows; decode and verification rows) on the emulated device, sm_80
// and sm_90: within a class 1 to 512 rows give a row the same bits, whatever the weights' format. (cuBLASLt's
// own kernels are the emulator's here: what holds for them is to be shown on hardware, docs/gpu.)

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/support/device_backends.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/backend/cuda/emulator/emulated_runtime.h"

namespace leadline::worker::cuda {
namespace {

constexpr std::int64_t kN = 16, kK = 128, kMostRows = 512;

struct ClassCase {
  DType format;
  int major;  // of the chip
  ProductClass product_class;
  int slices;
};

class ProductClasses : public testing::TestWithParam<ClassCase> {
 protected:
  void SetUp() override {
    if (tests::usable_devices().empty()) GTEST_SKIP() << "the emulated device does not run under sanitizers";
    EmulatedRuntime::Options options;
    options.total_bytes = 64 << 20;
    options.major = GetParam().major;
    auto runtime = std::make_unique<EmulatedRuntime>(options);
    device_ = runtime.get();
    backend_ = std::move(*CudaBackend::create(std::move(runtime), {}));
    std::vector<float> w(static_cast<std::size_t>(kN * kK));
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = std::sin(0.37F * static_cast<float>(i));
    const WeightPart part{w.data(), DType::f32, kN, kK, kK};
    matrix_ = std::move(*backend_->pack(std::span(&part, 1), GetParam().format, GetParam().slices));
    std::vector<float> x(static_cast<std::size_t>(kMostRows * kK));
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = std::cos(0.73F * static_cast<float>(i)) * static_cast<float>(1 + i % 5);
    x_ = std::move(*backend_->allocate(static_cast<std::int64_t>(x.size() * 4), "x"));
    out_ = std::move(*backend_->allocate(kMostRows * kN * 4, "out"));
    backend_->upload(x_->data(), x.data(), static_cast<std::int64_t>(x.size() * 4));
  }
  // The first `rows` rows, as that many rows of one step.
  std::vector<float> product(std::int64_t rows) {
    const bool decode = GetParam().product_class == ProductClass::decode;
    const std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows), 0);
    std::vector<std::uint32_t> table(static_cast<std::size_t>(rows / 16 + 1));
    std::vector<SequenceRows> sequences(1);
    sequences[0].rows = static_cast<std::int32_t>(rows);
    sequences[0].decode = decode;
    sequences[0].kv.table = table.data();
    backend_->begin_step({tokens, sequences, {}});
    backend_->linear_sliced(ConstFloatMatrix(static_cast<const float*>(x_->data()), rows, kK), *matrix_,
                            FloatMatrix(static_cast<float*>(out_->data()), rows, kN));
    backend_->end_step();
    std::vector<float> got(static_cast<std::size_t>(rows * kN));
    backend_->download(got.data(), out_->data(), rows * kN * 4);
    return got;
  }
  EmulatedRuntime* device_ = nullptr;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<PackedMatrix> matrix_;
  std::unique_ptr<Buffer> x_, out_;
};

TEST_P(ProductClasses, OneTo512RowsGiveTheSameBits) {
  const std::vector<float> all = product(kMostRows);
  for (const std::int64_t rows : {1, 2, 3, 7, 16, 33, 100, 257}) {
    const std::vector<float> some = product(rows);
    ASSERT_EQ(std::memcmp(some.data(), all.data(), some.size() * 4), 0) << rows << " rows";
  }
}

// fp8: W8A8 with a scale per token where the chip multiplies fp8, weight-only before; int4: a kernel of its
// own for decode rows, widened for prompts.
TEST_P(ProductClasses, TheChipAndTheClassChooseThePath) {
  device_->calls().clear();
  product(3);
  std::vector<std::string> stages;
  std::int32_t multiplied = -1;
  for (const RecordedCall& call : device_->calls()) {
    if (call.what == "launch") stages.push_back(call.stage);
    if (call.what != "multiply") continue;
    multiplied = call.product.format;
    EXPECT_EQ(call.product.product_class, GetParam().product_class);
  }
  const auto has = [&](const char* stage) { return std::count(stages.begin(), stages.end(), stage) > 0; };
  const bool decode = GetParam().product_class == ProductClass::decode;
  if (GetParam().format == DType::fp8) {
    EXPECT_EQ(multiplied, GetParam().major >= 9 ? kFp8 : kBf16);
    EXPECT_EQ(has("widen weights"), GetParam().major < 9);
    EXPECT_TRUE(has("fp8 scales"));
  } else if (GetParam().format == DType::i4) {
    EXPECT_EQ(has("int4 product"), decode);
    EXPECT_EQ(multiplied, decode ? -1 : kBf16);
  } else {
    EXPECT_EQ(multiplied, kBf16);
  }
}

std::vector<ClassCase> cases() {
  std::vector<ClassCase> all;
  for (const DType format : {DType::bf16, DType::fp8, DType::i4})
    for (const int major : {8, 9})
      for (const ProductClass of : {ProductClass::prefill, ProductClass::decode})
        all.push_back({format, major, of, format == DType::bf16 ? 4 : 1});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Formats, ProductClasses, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(transport::name_of(info.param.format)) + "_sm_" + std::to_string(info.param.major) +
         "0_" + (info.param.product_class == ProductClass::decode ? "decode" : "prefill");
});

TEST(ProductClassNames, TheClassesAreInTheArithmeticsName) {
  EmulatedRuntime::Options small;
  small.total_bytes = 16 << 20;
  auto backend = std::move(*CudaBackend::create(std::make_unique<EmulatedRuntime>(small), {}));
  EXPECT_NE(backend->arithmetic_id().find("gemm prefill|decode"), std::string::npos)
      << backend->arithmetic_id();
  BackendOptions whole;
  whole.rank_invariant = false;
  auto other = std::move(*CudaBackend::create(std::make_unique<EmulatedRuntime>(small), whole));
  EXPECT_NE(backend->arithmetic_id(), other->arithmetic_id()) << "another arithmetic, another name";
}

}  // namespace
}  // namespace leadline::worker::cuda
