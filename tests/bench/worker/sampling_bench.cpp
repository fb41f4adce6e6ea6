// One row of a 150,000-id vocabulary under the usual settings, on a peaked and on a flat distribution.
#include <random>

#include "tests/support/stopwatch.h"
#include "worker/sampling/sampler.h"

int main() {
  using namespace leadline::worker;
  constexpr int kVocab = 150000, kRuns = 50;
  std::mt19937 rng(1);
  std::normal_distribution<float> normal(0, 2.5F);
  std::vector<float> flat(kVocab), peaked(kVocab);
  for (int i = 0; i < kVocab; ++i) {
    flat[i] = normal(rng);
    peaked[i] = flat[i] + (i % 5000 == 7 ? 12.0F : 0.0F);
  }
  std::vector<std::int32_t> history(2000);
  for (std::int32_t& id : history) id = static_cast<std::int32_t>(rng() % kVocab);
  SamplerScratch scratch;
  const auto run = [&](const char* name, const std::vector<float>& logits, SamplingParams params) {
    leadline::testing::time_it(name, kRuns, [&](int i) {
      SamplingRow row;
      row.logits = logits;
      row.allowed_vocab = kVocab;
      row.prompt = row.generated = history;
      row.position = static_cast<std::uint64_t>(i);
      return static_cast<std::uint64_t>(sample(row, params, scratch).token);
    });
  };
  run("greedy", flat, {.temperature = 0});
  run("temperature 1, peaked", peaked, {});
  run("temperature 1, flat", flat, {});
  run("top-k 40", flat, {.top_k = 40});
  run("top-p 0.9, peaked", peaked, {.top_p = 0.9F});
  run("top-p 0.9, flat", flat, {.top_p = 0.9F});
  run("top-k 1000, top-p 0.95, min-p 0.02", flat, {.top_k = 1000, .top_p = 0.95F, .min_p = 0.02F});
  run("penalties over 4,000 ids", flat, {.repetition_penalty = 1.1F, .frequency_penalty = 0.2F});
  run("20 logprobs", flat, {.top_logprobs = 20});
}
