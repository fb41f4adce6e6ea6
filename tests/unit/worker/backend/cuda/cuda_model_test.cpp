// A whole forward pass on the emulated device: near the CPU's, and with ==: ranks, chunks, company, recorded
// steps.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tests/support/device_backends.h"
#include "tests/support/model_replica.h"
#include "tests/support/tiny_model.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace leadline::worker::cuda {
namespace {

using tests::Feed;
using tests::ModelReplica;
using tests::ReplicaOptions;
using Logits = std::vector<std::vector<float>>;

class CudaModel : public testing::Test {
 protected:
  void SetUp() override {
    if (tests::usable_devices().empty()) GTEST_SKIP() << "the emulated device does not run under sanitizers";
  }
  std::unique_ptr<ModelReplica> start(bool device, int ranks = 1, DType kv = DType::bf16) {
    ReplicaOptions options;
    options.model_directory = model_.directory();
    options.kv_dtype = kv;
    options.ranks = ranks;
    options.pages = 64;
    options.max_positions = 512;
    if (device)
      options.make_backend = [this] {
        const char* named = std::getenv("LEADLINE_DEVICE");  // tests/gpu/run.sh: "cuda"
        auto made = tests::device_backend(named != nullptr ? named : "cuda_emulated");
        last_ = static_cast<CudaBackend*>(made.get());
        return made;
      };
    auto replica = ModelReplica::start(options);
    EXPECT_TRUE(replica.has_value()) << replica.error().message;
    return std::move(*replica);
  }
  static std::vector<std::int32_t> tokens(std::size_t count) {
    std::vector<std::int32_t> t(count);
    for (std::size_t i = 0; i < count; ++i) t[i] = static_cast<std::int32_t>(i * 29 % 83);
    return t;
  }
  tests::TinyModel model_{tests::tiny_config("qwen3", "Qwen3ForCausalLM", R"(, "head_dim": 32)"), "BF16"};
  CudaBackend* last_ = nullptr;
};

TEST_F(CudaModel, LogitsComeNearTheCpus) {
  const Logits cpu = start(false)->run(0, tokens(40), 64, true),
               gpu = start(true)->run(0, tokens(40), 64, true);
  ASSERT_EQ(cpu.size(), gpu.size());
  int compared = 0, different = 0;
  double worst = 0, scale = 0;
  for (std::size_t r = 0; r < cpu.size(); ++r) {
    for (std::size_t i = 0; i < cpu[r].size(); ++i) {
      worst = std::max(worst, std::fabs(double(cpu[r][i]) - gpu[r][i]));
      scale = std::max(scale, std::fabs(double(cpu[r][i])));
    }
    std::vector<float> sorted = cpu[r];
    std::sort(sorted.rbegin(), sorted.rend());
    ++compared;
    if (tests::argmax(cpu[r]) != tests::argmax(gpu[r])) {
      ++different;
      EXPECT_LT(sorted[0] - sorted[1], 0.03 * scale) << "row " << r;
    }
  }
  EXPECT_LT(worst, 0.02 * scale) << "activations are rounded to bf16: 2^-9 each, over two layers";
  std::printf("greedy tokens: %d of %d rows differ from the CPU's; worst logit error %.4f of %.2f\n",
              different, compared, worst, scale);
}

TEST_F(CudaModel, RanksAndChunksChangeNoBit) {
  const Logits whole = start(true)->run(0, tokens(50), 64, true);
  EXPECT_EQ(start(true)->run(0, tokens(50), 7, true), whole) << "chunks of 7";
  EXPECT_EQ(start(true, 2)->run(0, tokens(50), 64, true), whole) << "2 ranks";
}

TEST_F(CudaModel, RecordedStepsGiveTheBitsOfPlainOnes) {
  auto recorded = start(true);
  const CudaBackend* backend = last_;
  auto alone = start(true);
  recorded->run(0, tokens(20), 64, false);
  recorded->run(1, tokens(33), 64, false);
  alone->run(0, tokens(20), 64, false);
  for (int i = 0; i < 6; ++i) {
    const auto both = recorded->step({Feed{0, {i}, false, true}, Feed{1, {i + 7}, false, true}});
    const auto one = alone->step({Feed{0, {i}, false, true}});
    ASSERT_EQ(both[0], one[0]) << "step " << i;
  }
  EXPECT_EQ(backend->recorded_steps(), 1U);
}

// 3 and 4 sequences run as the record of 4; a row's bits do not tell.
TEST_F(CudaModel, ARecordServesItsBucket) {
  auto together = start(true);
  const CudaBackend* backend = last_;
  auto alone = start(true);
  for (std::size_t s = 0; s < 4; ++s) together->run(s, tokens(10 + 7 * s), 64, false);
  alone->run(0, tokens(10), 64, false);
  for (int i = 0; i < 6; ++i) {
    std::vector<Feed> feeds;
    for (std::size_t s = 0; s < (i % 2 == 0 ? 4U : 3U); ++s) feeds.push_back(Feed{s, {i}, false, true});
    ASSERT_EQ(together->step(feeds)[0], alone->step({Feed{0, {i}, false, true}})[0]) << "step " << i;
  }
  EXPECT_EQ(backend->recorded_steps(), 1U);
}

TEST_F(CudaModel, EightBitPagesComeNear) {
  const Logits exact = start(true)->run(0, tokens(40), 64, true);
  for (DType kv : {DType::i8, DType::fp8}) {
    const Logits got = start(true, 1, kv)->run(0, tokens(40), 16, true);
    double worst = 0, scale = 0;
    for (std::size_t r = 0; r < got.size(); ++r)
      for (std::size_t i = 0; i < got[r].size(); ++i) {
        worst = std::max(worst, std::fabs(double(exact[r][i]) - got[r][i]));
        scale = std::max(scale, std::fabs(double(exact[r][i])));
      }
    EXPECT_GT(worst, 0);
    EXPECT_LT(worst, (kv == DType::i8 ? 0.03 : 0.1) * scale) << transport::name_of(kv);
  }
}

}  // namespace
}  // namespace leadline::worker::cuda
