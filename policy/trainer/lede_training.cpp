#include "policy/trainer/lede_training.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "monitoring/check.h"
#include "policy/sequence_experience.h"
#include "policy/trainer/offline_q.h"

namespace leadline::policy {
namespace {

struct Step {
  std::array<float, kLedeInputs> state;
  int action = 0;  // 0 continue, 1 exit
  float reward = 0;
  bool forced = false;
};

// Rewards of the paper, L the model's layers.
constexpr float kRight = 1, kWrong = -2, kContinue = -0.01F;

// One answer, token by token, from the first candidate up, with actions at random.
std::vector<Step> walk(const DecodeTrace& trace, const AnswerTrace& answer,
                       std::span<const std::size_t> candidates, const LedeOptions& options,
                       std::mt19937_64& random) {
  std::vector<Step> steps;
  SequenceExperience experience;
  for (std::size_t i = 0; i < answer.tokens.size(); ++i) {
    const std::size_t wanted = random() % candidates.size();  // every depth is seen equally often
    const bool mixed = std::uniform_real_distribution<float>(0, 1)(random) < options.explore;
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      const ExitTrace& exit = answer.exits[candidates[c]];
      const ProbeReading& reading = exit.readings[i];
      const bool last = c + 1 == candidates.size();
      const bool leaves = last || (mixed ? random() % 2 == 0 : c == wanted);
      const float saved =
          static_cast<float>(trace.layers - trace.exits[candidates[c]]) / static_cast<float>(trace.layers);
      const float reward = !leaves ? kContinue : (exit.matches[i] != 0 ? kRight : kWrong) + saved;
      steps.push_back(
          {{reading.top5_nll, reading.entropy, experience.trailing()}, leaves ? 1 : 0, reward, last});
      if (leaves) break;
    }
    experience = observe(experience, {0, 0, std::span(answer.target_top1).subspan(i, 1), 0, {}});
  }
  return steps;
}

void add(Transitions& data, std::span<const Step> steps, const LearnedModel& model,
         const LedeOptions& options) {
  const auto scaled = [&](const Step& step, std::size_t f) {
    return std::clamp((step.state[f] - model.mean[f]) * model.scale[f], -8.0F, 8.0F);
  };
  const auto legal = [](std::vector<std::uint8_t>& to, bool forced) {
    to.push_back(forced ? 0 : 1);
    to.push_back(1);
  };
  for (std::size_t t = 0; t < steps.size(); ++t) {
    for (std::size_t f = 0; f < kLedeInputs; ++f) data.states.push_back(scaled(steps[t], f));
    legal(data.legal, steps[t].forced);
    data.chosen.push_back(steps[t].action);
    const std::size_t end = t + static_cast<std::size_t>(options.n_step);
    float sum = 0, discount = 1;
    for (std::size_t i = t; i < std::min(end, steps.size()); ++i, discount *= options.gamma)
      sum += discount * steps[i].reward;
    data.returns.push_back(sum);
    data.discounts.push_back(end < steps.size() ? discount : 0.0F);
    const Step& next = steps[std::min(end, steps.size() - 1)];
    for (std::size_t f = 0; f < kLedeInputs; ++f) data.next_states.push_back(scaled(next, f));
    legal(data.next_legal, next.forced);
  }
}

}  // namespace

LearnedModel train_lede(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                        std::vector<std::int32_t> candidates, const LedeOptions& options) {
  LearnedModel model;
  model.kind = LearnedKind::lede;
  model.layers = trace.layers;
  model.exits = std::move(candidates);
  std::vector<std::size_t> indices;
  for (const std::int32_t exit : model.exits) {
    const auto found = std::ranges::find(trace.exits, exit);
    LEADLINE_CHECK(found != trace.exits.end(), "a candidate that was recorded");
    indices.push_back(static_cast<std::size_t>(found - trace.exits.begin()));
  }
  std::mt19937_64 random(options.seed);
  std::vector<std::vector<Step>> walks;
  std::array<double, kLedeInputs> sum{}, square{};
  double n = 0;
  for (int pass = 0; pass < 4; ++pass) {
    for (const AnswerTrace* answer : answers) {
      walks.push_back(walk(trace, *answer, indices, options, random));
      for (const Step& step : walks.back()) {
        n += 1;
        for (std::size_t f = 0; f < kLedeInputs; ++f) {
          sum[f] += step.state[f];
          square[f] += step.state[f] * step.state[f];
        }
      }
    }
  }
  for (std::size_t f = 0; f < kLedeInputs; ++f) {
    const double mean = sum[f] / n, variance = std::max(1e-8, square[f] / n - mean * mean);
    model.mean.push_back(static_cast<float>(mean));
    model.scale.push_back(static_cast<float>(1 / std::sqrt(variance)));
  }
  Transitions data;
  data.inputs = kLedeInputs;
  data.outputs = kLedeOutputs;
  for (const auto& steps : walks) add(data, steps, model, options);
  QOptions q;
  q.hidden = {64, 64};  // seed_methods 1.6
  q.steps = options.steps;
  q.batch = 32 * 4;  // one update per four steps of the agent, 32 each
  q.target_every = 512;
  q.rate = 6.25e-5F * 8;  // the paper's rate, for fewer and larger updates
  q.seed = options.seed;
  q.progress = options.progress;
  model.net = train_q(data, q);
  return model;
}

}  // namespace leadline::policy
