#include "policy/trainer/eviction_training.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "monitoring/error.h"

namespace leadline::policy {
namespace {

constexpr std::size_t kIn = kEvictionFeatures, kHidden = EvictionNetwork::kHidden;
constexpr std::size_t kW1 = 0, kB1 = kW1 + kHidden * kIn, kW2 = kB1 + kHidden, kB2 = kW2 + kHidden * kHidden,
                      kW3 = kB2 + kHidden, kB3 = kW3 + kHidden, kParameters = kB3 + 1;

struct Example {
  std::array<float, kIn> x;
  float y;
};

// Forward, and, if `gradient`, the gradient of (out - y)^2 added to it.
float pass(const std::vector<float>& p, const Example& e, std::vector<float>* gradient) {
  std::array<float, kHidden> h1, h2;
  for (std::size_t j = 0; j < kHidden; ++j) {
    float sum = p[kB1 + j];
    for (std::size_t i = 0; i < kIn; ++i) sum += p[kW1 + j * kIn + i] * e.x[i];
    h1[j] = std::max(sum, 0.0F);
  }
  float out = p[kB3];
  for (std::size_t j = 0; j < kHidden; ++j) {
    float sum = p[kB2 + j];
    for (std::size_t i = 0; i < kHidden; ++i) sum += p[kW2 + j * kHidden + i] * h1[i];
    h2[j] = std::max(sum, 0.0F);
    out += p[kW3 + j] * h2[j];
  }
  if (gradient == nullptr) return out;
  std::vector<float>& g = *gradient;
  const float d = 2 * (out - e.y);
  g[kB3] += d;
  std::array<float, kHidden> back{};
  for (std::size_t j = 0; j < kHidden; ++j) {
    g[kW3 + j] += d * h2[j];
    if (h2[j] <= 0) continue;
    const float dj = d * p[kW3 + j];
    g[kB2 + j] += dj;
    for (std::size_t i = 0; i < kHidden; ++i) {
      g[kW2 + j * kHidden + i] += dj * h1[i];
      back[i] += dj * p[kW2 + j * kHidden + i];
    }
  }
  for (std::size_t j = 0; j < kHidden; ++j) {
    if (h1[j] <= 0) continue;
    g[kB1 + j] += back[j];
    for (std::size_t i = 0; i < kIn; ++i) g[kW1 + j * kIn + i] += back[j] * e.x[i];
  }
  return out;
}

class Adam {  // Kingma and Ba, arXiv 1412.6980, algorithm 1
 public:
  explicit Adam(float rate) : rate_(rate), m_(kParameters), v_(kParameters) {}
  void step(std::vector<float>& p, const std::vector<float>& g, float scale) {
    power1_ *= 0.9F;
    power2_ *= 0.999F;
    for (std::size_t i = 0; i < p.size(); ++i) {
      const float gi = g[i] * scale;
      m_[i] = 0.9F * m_[i] + 0.1F * gi;
      v_[i] = 0.999F * v_[i] + 0.001F * gi * gi;
      p[i] -= rate_ * (m_[i] / (1 - power1_)) / (std::sqrt(v_[i] / (1 - power2_)) + 1e-8F);
    }
  }

 private:
  float rate_, power1_ = 1, power2_ = 1;
  std::vector<float> m_, v_;
};

constexpr double kLeastDeviation = 0.02;  // of a logarithm
constexpr double kBlind = 1e6;            // a deviation that makes every input 0

// Logarithms, standardised; mean and deviation go into the network.
std::vector<Example> standardised(std::span<const EvictionSample> samples, float horizon_s,
                                  EvictionNetwork& n) {
  std::vector<Example> examples(samples.size());
  for (std::size_t f = 0; f < kIn; ++f) {
    double sum = 0, square = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const double x = std::log1p(std::max(samples[i].features[f], 0.0F));
      examples[i].x[f] = static_cast<float>(x);
      sum += x;
      square += x * x;
    }
    const double count = static_cast<double>(samples.size()), mean = sum / count;
    n.mean[f] = static_cast<float>(mean);
    // What hardly varies in the log (the bytes of one model's blocks) teaches nothing, and a tier may measure
    // it otherwise (per head, after the codec): the network shall not see it.
    const double deviation = std::sqrt(std::max(square / count - mean * mean, 0.0));
    n.deviation[f] = static_cast<float>(deviation < kLeastDeviation ? kBlind : deviation);
    for (Example& e : examples) e.x[f] = std::clamp((e.x[f] - n.mean[f]) / n.deviation[f], -5.0F, 5.0F);
  }
  for (std::size_t i = 0; i < samples.size(); ++i)
    examples[i].y = std::log1p(std::clamp(samples[i].seconds, 0.0F, horizon_s));
  return examples;
}

void unpack(const std::vector<float>& p, EvictionNetwork& n) {
  const auto take = [&](std::size_t at, auto& to) {
    std::copy_n(p.begin() + static_cast<std::ptrdiff_t>(at), to.size(), to.begin());
  };
  take(kW1, n.w1);
  take(kB1, n.b1);
  take(kW2, n.w2);
  take(kB2, n.b2);
  take(kW3, n.w3);
  n.b3 = p[kB3];
}

}  // namespace

Result<EvictionTraining> train_eviction(std::span<const EvictionSample> samples,
                                        const EvictionTrainingOptions& options) {
  if (samples.size() < 100)
    return monitoring::fail(Errc::configuration,
                            "eviction training: " + std::to_string(samples.size()) +
                                " samples, at least 100: a longer log, or a smaller capacity");
  if (!(options.horizon_s > 0) || options.epochs < 1 || options.batch < 1)
    return monitoring::fail(Errc::configuration,
                            "eviction training: horizon_s, epochs and batch are positive");
  EvictionTraining out;
  out.network.horizon_s = options.horizon_s;
  const std::vector<Example> examples = standardised(samples, options.horizon_s, out.network);
  double mean = 0;
  for (const Example& e : examples) mean += e.y / static_cast<double>(examples.size());

  std::mt19937 rng(static_cast<std::uint32_t>(options.seed));
  std::vector<float> p(kParameters, 0.0F), g(kParameters);
  const auto fill = [&](std::size_t at, std::size_t n, std::size_t fan_in) {
    std::normal_distribution<float> normal(0, std::sqrt(2.0F / static_cast<float>(fan_in)));
    for (std::size_t i = 0; i < n; ++i) p[at + i] = normal(rng);
  };
  fill(kW1, kHidden * kIn, kIn);
  fill(kW2, kHidden * kHidden, kHidden);
  fill(kW3, kHidden, kHidden);
  p[kB3] = static_cast<float>(mean);
  Adam adam(options.rate);
  std::vector<std::size_t> order(examples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    std::shuffle(order.begin(), order.end(), rng);
    for (std::size_t at = 0; at < order.size(); at += options.batch) {
      const std::size_t end = std::min(at + options.batch, order.size());
      std::fill(g.begin(), g.end(), 0.0F);
      for (std::size_t i = at; i < end; ++i) pass(p, examples[order[i]], &g);
      adam.step(p, g, 1.0F / static_cast<float>(end - at));
    }
  }
  for (const Example& e : examples) {
    const double error = pass(p, e, nullptr) - e.y, constant = mean - e.y;
    out.loss += error * error / static_cast<double>(examples.size());
    out.constant_loss += constant * constant / static_cast<double>(examples.size());
  }
  unpack(p, out.network);
  return out;
}

}  // namespace leadline::policy
