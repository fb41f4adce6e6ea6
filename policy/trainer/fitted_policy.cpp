#include "policy/trainer/fitted_policy.h"

#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <utility>

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

// What is found beside a sequence in a batch: half what the current policy does, half what was found before,
// so that all do not change their minds at once. At first the best static setting of the batch: drafting
// together can pay where drafting alone never does, and plain decoding is an equilibrium, too.
class Neighbours {
 public:
  Neighbours(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers, const CostTable& costs,
             const FitOptions& options)
      : trace_(trace), answers_(answers), costs_(costs), options_(options) {
    for (const AnswerTrace* answer : answers)
      context_ += (answer->prompt_tokens + static_cast<double>(answer->tokens.size()) / 2) /
                  static_cast<double>(answers.size());
  }

  BatchField field(std::int32_t batch, const ExitPolicy* current) {
    if (batch == 1) return {trace_, costs_};
    Company now = current != nullptr ? shown(batch, *current).company : best_static(batch);
    if (found_.contains(batch)) add(now, found_[batch]);
    found_[batch] = now;
    return {trace_, costs_, batch, now, context_};
  }

 private:
  [[nodiscard]] ReplayResult shown(std::int32_t batch, const ExitPolicy& policy) const {
    return replay(trace_, answers_, policy, costs_,
                  {.batch = batch, .max_draft = options_.rollout.max_draft, .sink = {}});
  }
  [[nodiscard]] Company best_static(std::int32_t batch) const {
    ReplayResult best = shown(batch, *make_off_policy());
    for (const std::int32_t exit : trace_.exits)
      for (const std::int32_t drafts : {1, 2, 3, 4, 6, 8}) {
        if (drafts > options_.rollout.max_draft) continue;
        ReplayResult tried = shown(batch, *make_static_policy(exit, drafts));
        if (tried.us_per_token() < best.us_per_token()) best = std::move(tried);
      }
    return best.company;
  }
  // Each counts as much as the other.
  static void add(Company& to, const Company& before) {
    const double weight = to.steps / before.steps;
    to.steps *= 2;
    to.us += weight * before.us;
    for (std::size_t j = 0; j < before.passes.size(); ++j) {
      const PassRows& from = before.passes[j];
      if (to.passes.size() <= j)
        to.passes.push_back(
            {std::vector<double>(from.layers.size()), std::vector<double>(from.heads.size())});
      for (std::size_t e = 0; e < from.layers.size(); ++e) {
        to.passes[j].layers[e] += weight * from.layers[e];
        to.passes[j].heads[e] += weight * from.heads[e];
      }
    }
    for (const auto& [shape, count] : before.verified) to.verified[shape] += weight * count;
  }

  const DecodeTrace& trace_;
  const std::span<const AnswerTrace* const> answers_;
  const CostTable& costs_;
  const FitOptions& options_;
  double context_ = 0;
  std::map<std::int32_t, Company> found_;
};

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
  Neighbours neighbours(trace, answers, costs, options);
  std::deque<RolloutSet> sets;
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    FitProgress progress;
    progress.iteration = iteration;
    RolloutSet set;
    set.inputs = kBenefitInputs;
    set.outputs = kClimb + model.exits.size();
    for (const std::int32_t batch : options.batches) {
      const BatchField field = neighbours.field(batch, iteration == 0 ? nullptr : current.get());
      RolloutTotals totals;
      RolloutSetting rollout{trace, model, *current, field, options.rollout};
      if (iteration == 0) rollout.options.epsilon = std::max(rollout.options.epsilon, 0.5F);
      for (std::size_t a = 0; a < answers.size(); ++a) {
        rollout.options.seed = options.rollout.seed + (static_cast<std::uint64_t>(iteration) << 40U) +
                               (static_cast<std::uint64_t>(batch) << 24U) + a;
        add_rollouts(rollout, *answers[a], set, totals);
      }
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
