#include "policy/trainer/fitted_policy.h"

#include <cmath>
#include <deque>
#include <memory>
#include <random>

#include "policy/fixed_policy.h"
#include "policy/trainer/dataset.h"
#include "policy/trainer/q_network.h"
#include "policy/trainer/replay.h"

namespace leadline::policy {
namespace {

using Matrix = QNetwork::Matrix;

// A policy that goes everywhere, for the first iteration: a threshold at the second exit.
std::unique_ptr<ExitPolicy> first_policy(const DecodeTrace& trace) {
  return make_threshold_policy({.exit = trace.exits[trace.exits.size() > 1 ? 1 : 0], .threshold = 0.5F});
}

void scale_to(LearnedModel& model, const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
              const CostTable& costs, const FitOptions& options) {
  std::vector<Trajectory> rounds;
  for (const std::int32_t batch : options.batches) {
    ReplayOptions replaying{
        .batch = batch, .max_draft = options.rollout.max_draft, .epsilon = 0.5F, .sink = {}};
    replaying.sink = [&](const Trajectory& round) { rounds.push_back(round); };
    (void)replay(trace, answers, *first_policy(trace), costs, replaying);
  }
  fit_scaling(model, rounds);
}

// Batches of rows of all kept sets.
class Samples {
 public:
  Samples(const std::deque<RolloutSet>& sets, std::uint64_t seed) : sets_(sets), random_(seed) {
    for (const RolloutSet& set : sets) ends_.push_back((ends_.empty() ? 0 : ends_.back()) + rows_of(set));
  }
  [[nodiscard]] std::size_t rows() const { return ends_.back(); }
  void draw(int count, Matrix& inputs, Matrix& targets, Matrix& weights) {
    const RolloutSet& any = sets_.front();
    inputs.resize(static_cast<Eigen::Index>(any.inputs), count);
    targets.resize(static_cast<Eigen::Index>(any.outputs), count);
    weights.resize(static_cast<Eigen::Index>(any.outputs), count);
    for (int s = 0; s < count; ++s) {
      std::size_t row = random_() % rows(), set = 0;
      while (row >= ends_[set]) ++set;
      if (set > 0) row -= ends_[set - 1];
      const RolloutSet& from = sets_[set];
      for (std::size_t i = 0; i < from.inputs; ++i)
        inputs(static_cast<Eigen::Index>(i), s) = from.states[row * from.inputs + i];
      for (std::size_t o = 0; o < from.outputs; ++o) {
        targets(static_cast<Eigen::Index>(o), s) = from.returns[row * from.outputs + o];
        weights(static_cast<Eigen::Index>(o), s) = from.legal[row * from.outputs + o];
      }
    }
  }

 private:
  static std::size_t rows_of(const RolloutSet& set) { return set.returns.size() / set.outputs; }
  const std::deque<RolloutSet>& sets_;
  std::vector<std::size_t> ends_;
  std::mt19937_64 random_;
};

Mlp learn(const std::deque<RolloutSet>& sets, const FitOptions& options, FitProgress& progress) {
  Samples samples(sets, options.rollout.seed + 17);
  std::vector<std::uint32_t> sizes{static_cast<std::uint32_t>(sets.front().inputs)};
  sizes.insert(sizes.end(), options.hidden.begin(), options.hidden.end());
  sizes.push_back(static_cast<std::uint32_t>(sets.front().outputs));
  QNetwork net(sizes, options.rollout.seed);
  Matrix inputs, targets, weights;
  for (int step = 0; step < options.steps; ++step) {
    samples.draw(options.samples, inputs, targets, weights);
    const float along = static_cast<float>(step) / static_cast<float>(options.steps);
    const float rate = options.rate * (0.05F + 0.475F * (1 + std::cos(3.14159265F * along)));
    const float loss = net.fit(inputs, targets, weights, rate);
    progress.loss = step == 0 ? loss : 0.995F * progress.loss + 0.005F * loss;
  }
  progress.decisions = samples.rows();
  return net.to_mlp();
}

}  // namespace

void fit_policy(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers, const CostTable& costs,
                const FitOptions& options,
                const std::function<void(const LearnedModel&, const FitProgress&)>& done) {
  LearnedModel model;
  model.layers = trace.layers;
  model.exits = trace.exits;
  model.max_draft = options.rollout.max_draft;
  scale_to(model, trace, answers, costs, options);
  std::unique_ptr<ExitPolicy> current = first_policy(trace);
  std::vector<BatchField> fields(options.batches.size());
  for (std::size_t b = 0; b < fields.size(); ++b) fields[b].batch = options.batches[b];
  std::deque<RolloutSet> sets;
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    FitProgress progress;
    progress.iteration = iteration;
    RolloutSet set;
    set.inputs = kBenefitInputs;
    set.outputs = kClimb + model.exits.size();
    for (BatchField& field : fields) {
      RolloutTotals totals;
      RolloutSetting rollout{trace, model, *current, costs, options.rollout};
      if (iteration == 0) rollout.options.epsilon = std::max(rollout.options.epsilon, 0.5F);
      for (std::size_t a = 0; a < answers.size(); ++a) {
        rollout.options.seed = options.rollout.seed + (static_cast<std::uint64_t>(iteration) << 40U) +
                               (static_cast<std::uint64_t>(field.batch) << 24U) + a;
        add_rollouts(rollout, *answers[a], field, set, totals);
      }
      field.update();
      progress.us_per_token.push_back(totals.us / totals.tokens);
    }
    sets.push_back(std::move(set));
    if (sets.size() > static_cast<std::size_t>(options.keep)) sets.pop_front();
    model.net = learn(sets, options, progress);
    current = make_learned_policy(model);
    done(model, progress);
  }
}

}  // namespace leadline::policy
