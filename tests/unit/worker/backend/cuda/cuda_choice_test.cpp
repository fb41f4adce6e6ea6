// Tokens chosen on the device (emulated, or LEADLINE_DEVICE=cuda) against the host sampler, with ==.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "tests/support/device_backends.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/backend/cuda/emulator/emulated_runtime.h"
#include "worker/sampling/choice_request.h"

namespace leadline::worker::cuda {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Case {
  std::vector<float> logits;
  std::vector<std::int32_t> prompt, generated, banned;
  std::int32_t allowed = 0;
  SamplingParams params;
  std::uint64_t position = 0;
  [[nodiscard]] SamplingRow row() const {
    SamplingRow r;
    r.logits = logits;
    r.allowed_vocab = allowed;
    r.prompt = prompt;
    r.generated = generated;
    r.banned = banned;
    r.position = position;
    return r;
  }
};

class CudaChoice : public testing::Test {
 protected:
  void SetUp() override {
    if (tests::usable_devices().empty()) GTEST_SKIP() << "the emulated device does not run under sanitizers";
    const char* named = std::getenv("LEADLINE_DEVICE");  // tests/gpu/run.sh: "cuda"
    backend_ = tests::device_backend(named != nullptr ? named : "cuda_emulated");
  }
  // All cases as the rows of one call; every answer must be the host's.
  void expect_the_hosts(const std::vector<Case>& cases) {
    std::size_t vocab = 0;
    for (const Case& c : cases) vocab = std::max(vocab, c.logits.size());
    std::vector<float> all(cases.size() * vocab, 77.0F);  // beyond a row's own ids: must not matter
    std::vector<TokenChoiceRow> rows;
    std::vector<LogitEdit> edits;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      std::copy(cases[i].logits.begin(), cases[i].logits.end(),
                all.begin() + static_cast<std::ptrdiff_t>(i * vocab));
      ASSERT_TRUE(append_choice(cases[i].row(), cases[i].params, static_cast<std::int32_t>(i), rows, edits));
    }
    const auto bytes = static_cast<std::int64_t>(all.size() * 4);
    auto buffer = std::move(*backend_->allocate(bytes, "logits"));
    backend_->upload(buffer->data(), all.data(), bytes);
    for (std::size_t i = 0; i < rows.size(); i += 5) rows[i].probe = 1;
    std::vector<TokenChoice> got(cases.size());
    ASSERT_TRUE(backend_->choose_tokens(
        ConstFloatMatrix(static_cast<const float*>(buffer->data()), static_cast<std::int64_t>(cases.size()),
                         static_cast<std::int64_t>(vocab)),
        rows, edits, got));
    SamplerScratch scratch;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const SampledRow host = sample(cases[i].row(), cases[i].params, scratch);
      const SampledRow device = sampled_of(got[i], cases[i].params.top_logprobs >= 0);
      EXPECT_EQ(device.no_candidate, host.no_candidate) << "case " << i;
      EXPECT_EQ(device.token, host.token) << "case " << i;
      EXPECT_NEAR(device.logprob, host.logprob, 1e-6 * (1 + std::fabs(host.logprob))) << "case " << i;
      ASSERT_EQ(device.top_logprobs.size(), host.top_logprobs.size()) << "case " << i;
      for (std::size_t t = 0; t < host.top_logprobs.size(); ++t) {
        EXPECT_EQ(device.top_logprobs[t].first, host.top_logprobs[t].first) << "case " << i << " top " << t;
        EXPECT_NEAR(device.top_logprobs[t].second, host.top_logprobs[t].second,
                    1e-6 * (1 + std::fabs(host.top_logprobs[t].second)));
      }
      if (rows[i].probe != 0 && !host.no_candidate) expect_probe(cases[i], got[i]);
      ++compared_;
    }
  }
  // The numbers of the allowed logits before edits.
  static void expect_probe(const Case& c, const TokenChoice& got) {
    std::vector<float> allowed;
    for (std::int32_t i = 0; i < c.allowed; ++i) {
      const float l = c.logits[static_cast<std::size_t>(i)];
      if (l > -kInf) allowed.push_back(std::min(l, std::numeric_limits<float>::max()));
    }
    std::sort(allowed.rbegin(), allowed.rend());
    double mass = 0, weighted = 0;
    for (const float l : allowed) {
      const double x = static_cast<double>(l) - allowed[0];
      mass += std::exp(x);
      weighted += x > -80 ? x * std::exp(x) : 0;
    }
    allowed.resize(std::max<std::size_t>(allowed.size(), kProbeTop), -kInf);
    for (int k = 0; k < kProbeTop; ++k) EXPECT_EQ(got.probe_top[k], allowed[static_cast<std::size_t>(k)]);
    EXPECT_NEAR(got.mass, mass, 1e-5 * mass);
    EXPECT_NEAR(got.weighted, weighted, 1e-5 * (1 + std::fabs(weighted)));
  }
  std::unique_ptr<Backend> backend_;
  int compared_ = 0;
};

Case random_case(std::mt19937& rng, std::size_t vocab) {
  Case c;
  std::normal_distribution<float> normal(0, 3);
  c.logits.resize(vocab);
  const bool ties = rng() % 3 == 0;
  for (float& l : c.logits) l = ties ? std::round(normal(rng)) : normal(rng);
  for (int i = 0; i < 3 && rng() % 2 == 0; ++i)
    c.logits[rng() % vocab] = std::vector{kInf, -kInf, std::nanf("")}[rng() % 3];
  c.allowed = static_cast<std::int32_t>(rng() % 4 == 0 ? 1 + rng() % vocab : vocab);
  const auto ids = [&](std::size_t most) {
    std::vector<std::int32_t> some(rng() % (most + 1));
    for (auto& id : some) id = static_cast<std::int32_t>(rng() % (vocab + 2)) - 1;  // also out of range
    return some;
  };
  c.prompt = ids(40);
  c.generated = ids(40);
  if (rng() % 3 == 0) c.banned = ids(5);
  SamplingParams& p = c.params;
  p.temperature = std::vector<float>{0, 0.3F, 1, 1.7F}[rng() % 4];
  p.top_k = std::vector<std::int32_t>{0, 0, 1, 7, 50}[rng() % 5];
  p.top_p = std::vector<float>{1, 1, 0, 0.3F, 0.9F, 0.999F}[rng() % 6];
  p.min_p = std::vector<float>{0, 0, 0.05F, 0.5F, 1}[rng() % 5];
  if (rng() % 3 == 0) p.repetition_penalty = 1.3F;
  if (rng() % 3 == 0) p.frequency_penalty = 0.4F;
  if (rng() % 3 == 0) p.presence_penalty = -0.7F;
  for (std::size_t i = rng() % 4; i > 0; --i)
    p.logit_bias.emplace_back(static_cast<std::int32_t>(rng() % (vocab + 1)),
                              std::vector<float>{2.5F, -100, -kInf, 3e38F}[rng() % 4]);
  p.top_logprobs = std::vector<std::int32_t>{-1, -1, 0, 0, 2, 2, 3, 20}[rng() % 8];
  p.seed = (std::uint64_t{rng()} << 32) | rng();
  c.position = (std::uint64_t{rng() % 3} << 32) | rng();
  return c;
}

TEST_F(CudaChoice, TokensAreTheHostSamplers) {
  std::mt19937 rng(11);
  for (const std::size_t vocab : {1U, 3U, 40U, 700U, 2113U}) {
    std::vector<Case> cases;
    for (int i = 0; i < (vocab > 1000 ? 8 : 24); ++i) cases.push_back(random_case(rng, vocab));
    expect_the_hosts(cases);
  }
  std::printf("rows sampled on the device and on the host: %d, all equal\n", compared_);
}

// Cuts through equal values keep the smaller ids, as many as the mass asks for.
TEST_F(CudaChoice, CutsThroughTiesKeepTheSmallerIds) {
  std::vector<Case> cases;
  for (int seed = 0; seed < 16; ++seed) {
    Case c;
    c.logits.assign(600, 1.0F);
    for (std::size_t i = 0; i < c.logits.size(); i += 3) c.logits[i] = 2.0F;  // 200 of these
    c.allowed = 600;
    c.params.seed = static_cast<std::uint64_t>(seed);
    c.params.top_k = seed % 4 == 0 ? 5 : seed % 4 == 1 ? 200 : seed % 4 == 2 ? 201 : 0;
    if (seed % 4 == 3) c.params.top_p = static_cast<float>(seed) / 16.0F;
    cases.push_back(c);
  }
  Case flat;  // the first half of equal ids, exactly
  flat.logits.assign(64, -3.0F);
  flat.allowed = 64;
  flat.params.top_p = 0.5F;
  for (int seed = 0; seed < 8; ++seed) {
    flat.params.seed = static_cast<std::uint64_t>(seed);
    cases.push_back(flat);
  }
  expect_the_hosts(cases);
}

TEST_F(CudaChoice, WithoutACandidateItSaysSo) {
  Case banned;
  banned.logits = {1, 2};
  banned.allowed = 2;
  banned.banned = {0, 1};
  Case absent;
  absent.logits = {-kInf, std::nanf("")};
  absent.allowed = 2;
  Case nothing;
  nothing.logits = {1, 2};
  expect_the_hosts({banned, absent, nothing});
}

TEST(CudaChoiceLimits, RowsThatAreTooMuchForADeviceAreTheHosts) {
  std::vector<TokenChoiceRow> rows;
  std::vector<LogitEdit> edits;
  Case c;
  c.allowed = 1 << 20;
  c.params.top_logprobs = kMaxChoiceTop + 1;
  EXPECT_FALSE(append_choice(c.row(), c.params, 0, rows, edits));
  c.params.top_logprobs = -1;
  c.params.repetition_penalty = 2;
  for (std::int32_t i = 0; i <= kMaxChoiceEdits; ++i) c.prompt.push_back(i);
  EXPECT_FALSE(append_choice(c.row(), c.params, 0, rows, edits));
  EXPECT_TRUE(rows.empty() && edits.empty());
  c.prompt.pop_back();
  EXPECT_TRUE(append_choice(c.row(), c.params, 0, rows, edits));
}

// One image there, one launch, one small copy back, whatever the vocabulary.
TEST(CudaChoiceCopies, LogitsStayOnTheDevice) {
  EmulatedRuntime::Options emulated;
  emulated.runs_kernels = false;
  emulated.total_bytes = 64 << 20;
  auto runtime = std::make_unique<EmulatedRuntime>(emulated);
  EmulatedRuntime* device = runtime.get();
  auto backend = std::move(*CudaBackend::create(std::move(runtime), {}));
  auto logits = std::move(*backend->allocate(8 * 50'000 * 4, "logits"));
  Case c;
  c.allowed = 50'000;
  c.params.logit_bias = {{3, 1.0F}};
  std::vector<TokenChoiceRow> rows;
  std::vector<LogitEdit> edits;
  for (std::int32_t i = 0; i < 8; ++i) ASSERT_TRUE(append_choice(c.row(), c.params, i, rows, edits));
  std::vector<TokenChoice> out(8);
  device->calls().clear();
  ASSERT_TRUE(backend->choose_tokens(ConstFloatMatrix(static_cast<const float*>(logits->data()), 8, 50'000),
                                     rows, edits, out));
  std::vector<std::string> order;
  std::int64_t there = 0, back = 0;
  for (const RecordedCall& call : device->calls()) {
    order.push_back(call.what);
    if (call.what == "copy to_device") there += call.bytes;
    if (call.what == "copy to_host") back += call.bytes;
  }
  EXPECT_EQ(order,
            (std::vector<std::string>{"copy to_device", "record", "launch", "copy to_host", "synchronize"}));
  EXPECT_EQ(there, static_cast<std::int64_t>(8 * (sizeof(TokenChoiceRow) + sizeof(LogitEdit))));
  EXPECT_EQ(back, static_cast<std::int64_t>(8 * sizeof(TokenChoice)));
  EXPECT_LT(back, 2'000);
}

}  // namespace
}  // namespace leadline::worker::cuda
