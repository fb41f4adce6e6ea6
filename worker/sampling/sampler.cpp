#include "worker/sampling/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "worker/sampling/logit_select.h"
#include "worker/sampling/philox.h"

namespace leadline::worker {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr std::size_t kNoiseQuads = 16;               // Philox calls side by side
constexpr std::size_t kNoiseBlock = 4 * kNoiseQuads;  // ids whose noise is made together
constexpr double kNoiseSlack = 1e-4;                  // more than the rounding of any noise to float

float noise_of(std::uint32_t word) {
  const double u = (static_cast<double>(word) + 0.5) * 0x1p-32;
  return static_cast<float>(-std::log(-std::log(u)));
}

std::array<std::uint32_t, 3> counter_of(std::uint64_t position) {
  return {static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32), 0};
}

// The working copy: masked ids and NaN absent, the rest finite.
void copy_masked(const SamplingRow& row, std::vector<float>& out) {
  const std::size_t n = std::min(row.logits.size(), static_cast<std::size_t>(std::max(row.allowed_vocab, 0)));
  out.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    const float l = row.logits[i];
    out[i] = l == l ? (l < kLargest ? l : kLargest) : kAbsent;
  }
  for (const std::int32_t id : row.banned)
    if (id >= 0 && static_cast<std::size_t>(id) < n) out[static_cast<std::size_t>(id)] = kAbsent;
}

// One step of arithmetic on a present logit: stays present and finite (a penalty is not a ban), absent stays
// absent.
float finite(float before, double after) {
  if (before == kAbsent) return kAbsent;
  return static_cast<float>(std::clamp(after, -static_cast<double>(kLargest), static_cast<double>(kLargest)));
}

void add_bias(const SamplingParams& params, std::vector<float>& logits) {
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size() || bias != bias) continue;
    float& l = logits[static_cast<std::size_t>(id)];
    l = bias == kAbsent ? kAbsent : finite(l, static_cast<double>(l) + bias);
  }
}

void apply_penalties(const SamplingRow& row, const SamplingParams& params, SamplerScratch& scratch) {
  const bool repetition = params.repetition_penalty != 1.0F;
  const bool counted = params.presence_penalty != 0.0F || params.frequency_penalty != 0.0F;
  if (!repetition && !counted) return;
  constexpr std::uint32_t kSeen = 1U << 31;
  std::vector<float>& logits = scratch.logits;
  if (scratch.counts.size() < logits.size()) scratch.counts.resize(logits.size(), 0);
  scratch.order.clear();  // ids with a non-zero count
  const auto note = [&](std::span<const std::int32_t> ids, std::uint32_t add) {
    for (const std::int32_t id : ids) {
      if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
      std::uint32_t& c = scratch.counts[static_cast<std::size_t>(id)];
      if (c == 0) scratch.order.push_back(id);
      c = (c | kSeen) + add;
    }
  };
  if (repetition) note(row.prompt, 0);
  note(row.generated, 1);
  for (const std::int32_t id : scratch.order) {
    const auto i = static_cast<std::size_t>(id);
    const std::uint32_t count = scratch.counts[i] & ~kSeen;
    scratch.counts[i] = 0;
    double l = logits[i];
    if (repetition) l = l > 0 ? l / params.repetition_penalty : l * params.repetition_penalty;
    if (count > 0) l = l - static_cast<double>(params.frequency_penalty) * count - params.presence_penalty;
    logits[i] = finite(logits[i], l);
  }
}

struct LogSoftmax {
  float max = 0;
  double log_sum = 0;
  float operator()(float logit) const {
    return static_cast<float>(static_cast<double>(logit) - max - log_sum);
  }
};

// Shifts by the maximum, divides by the temperature, filters: log p up to a constant; absent = filtered.
void warp(const SamplingParams& params, float max, SamplerScratch& scratch) {
  std::vector<float>& x = scratch.warped;
  const float temperature = std::min(params.temperature, kLargest);
  x.resize(scratch.logits.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = (scratch.logits[i] - max) / temperature;
  keep_top_k(x, params.top_k, scratch.order);
  if (params.top_p < 1.0F) keep_top_p(x, params.top_p, scratch.weights, scratch.order);
  if (params.min_p > 0.0F) {
    const auto edge = static_cast<float>(std::log(std::min(1.0, static_cast<double>(params.min_p))));
    for (float& v : x) v = v >= edge ? v : kAbsent;
  }
}

// argmax of x + noise. An id can win only if its word reaches the word whose noise closes the gap to the best
// score so far, so logarithms are taken for few ids, and blocks that are too far below are skipped whole: the
// result is that of the plain loop.
class NoisyArgMax {
 public:
  NoisyArgMax(std::span<const float> x, std::uint64_t seed, std::uint64_t position)
      : x_(x), seed_(seed), counter_(counter_of(position)) {}

  std::int32_t run(std::size_t first_id) {
    const std::size_t home = first_id / kNoiseBlock;  // the likeliest block first: a high score to beat
    visit(home);
    for (std::size_t b = 0; b * kNoiseBlock < x_.size(); ++b)
      if (b != home) visit(b);
    return token_;
  }

 private:
  void visit(std::size_t block) {
    const std::size_t begin = block * kNoiseBlock, end = std::min(begin + kNoiseBlock, x_.size());
    const float top = max_value(x_.subspan(begin, end - begin));
    if (top == kAbsent) return;
    const double gap = best_ - top - kNoiseSlack;
    if (gap > kLargestNoise) return;
    const double reach = std::exp(-std::exp(-gap)) * 0x1p32 - 2;
    const auto least = reach > 0 ? static_cast<std::uint32_t>(reach) : 0U;
    std::uint32_t words[4][kNoiseQuads];
    philox4x32_10(static_cast<std::uint32_t>(begin / 4), counter_, seed_, words);
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t word = words[i % 4][(i - begin) / 4];
      if (word >= least && x_[i] != kAbsent) consider(static_cast<std::int32_t>(i), word);
    }
  }
  void consider(std::int32_t id, std::uint32_t word) {
    const double score = static_cast<double>(x_[static_cast<std::size_t>(id)]) + noise_of(word);
    if (score > best_ || (score == best_ && id < token_)) {
      best_ = score;
      token_ = id;
    }
  }

  static constexpr double kLargestNoise = 22.9;  // noise of the word 2^32 - 1 is 22.87
  std::span<const float> x_;
  std::uint64_t seed_;
  std::array<std::uint32_t, 3> counter_;
  double best_ = -std::numeric_limits<double>::infinity();
  std::int32_t token_ = 0;
};

}  // namespace

SampledRow sample(const SamplingRow& row, const SamplingParams& params, SamplerScratch& scratch) {
  SampledRow out;
  copy_masked(row, scratch.logits);
  add_bias(params, scratch.logits);
  apply_penalties(row, params, scratch);
  const std::int32_t likeliest = arg_max(scratch.logits);
  if (likeliest < 0) {
    out.no_candidate = true;
    return out;
  }
  const float max = scratch.logits[static_cast<std::size_t>(likeliest)];
  LogSoftmax log_softmax{max, 0};
  const bool logprobs = params.top_logprobs >= 0;
  if (logprobs) {
    log_softmax.log_sum = std::log(sum_exp(scratch.logits, max));
    select_top_k(scratch.logits, params.top_logprobs, scratch.order);
    for (const std::int32_t id : scratch.order)
      out.top_logprobs.emplace_back(id, log_softmax(scratch.logits[static_cast<std::size_t>(id)]));
  }
  out.token = likeliest;
  if (params.temperature > 0) {
    warp(params, max, scratch);
    out.token =
        NoisyArgMax(scratch.warped, params.seed, row.position).run(static_cast<std::size_t>(likeliest));
  }
  if (logprobs) out.logprob = log_softmax(scratch.logits[static_cast<std::size_t>(out.token)]);
  return out;
}

float gumbel_noise(std::uint64_t seed, std::uint64_t position, std::int32_t token) {
  std::uint32_t words[4][1];
  const auto id = static_cast<std::uint32_t>(token);
  philox4x32_10(id / 4, counter_of(position), seed, words);
  return noise_of(words[id % 4][0]);
}

}  // namespace leadline::worker
