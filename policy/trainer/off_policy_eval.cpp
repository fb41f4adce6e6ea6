#include "policy/trainer/off_policy_eval.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "policy/fixed_policy.h"
#include "policy/trainer/dataset.h"
#include "policy/trainer/reward.h"

namespace leadline::policy {
namespace {

constexpr int kResamples = 400;

// Equal but for the length that a climb may draft: what is drafted shows in later decisions.
bool same(const Action& a, const Action& b) {
  return a.kind == b.kind && a.exit == b.exit;
}

double weight_of(const Trajectory& round, const ExitPolicy& policy, std::int32_t layers,
                 std::span<const std::int32_t> exits) {
  double weight = 1;
  for (const LoggedDecision& decision : round.decisions) {
    const DecisionPoint point = point_of(decision, layers, exits);
    const ActionDistribution decided = policy.decide(point);
    double wanted = 0;
    for (const auto& entry : decided.entries())
      if (same(entry.action, decision.action)) wanted += entry.probability;
    if (wanted <= 0) return 0;
    weight *= wanted / static_cast<double>(decision.propensity);
  }
  return weight;
}

class LoggedStatic final : public ExitPolicy {
 public:
  LoggedStatic(std::int32_t exit, std::int32_t drafts) : exit_(exit), drafts_(drafts) {}
  ActionDistribution decide(const DecisionPoint& point) const override {
    const std::int32_t exit = nearest_exit(point, exit_);
    Action action = safe_action(point.kind);
    switch (point.kind) {
      case DecisionKind::round_start:
        if (exit > 0 && point.max_draft > 0)
          action = {ActionKind::climb, static_cast<std::int16_t>(exit),
                    static_cast<std::int16_t>(std::min(point.max_draft, kMaxDraft))};
        break;
      case DecisionKind::at_layer:
        if (point.exit == exit) action = {ActionKind::draft, static_cast<std::int16_t>(exit)};
        break;
      case DecisionKind::after_draft:
        if (point.drafted < drafts_)
          action = {point.drafted + 1 == drafts_ ? ActionKind::keep_and_stop : ActionKind::go_on};
        break;
    }
    return ActionDistribution::certain(action);
  }
  PolicyNeeds needs() const override { return {}; }
  std::string_view name() const override { return "logged static"; }

 private:
  const std::int32_t exit_, drafts_;
};

struct Sums {
  double tokens = 0, us = 0;
  void add(const Sums& other) {
    tokens += other.tokens;
    us += other.us;
  }
};

}  // namespace

OffPolicyEstimate estimate(std::span<const Trajectory> rounds, const ExitPolicy& policy, std::int32_t layers,
                           std::span<const std::int32_t> exits, std::uint64_t seed) {
  OffPolicyEstimate result;
  std::vector<double> weights;
  std::array<double, kBatchBuckets> logged{}, weighted{}, sum{}, squares{}, count{};
  for (const Trajectory& round : rounds) {
    ++result.rounds;
    const double w = weight_of(round, policy, layers, exits);
    const std::size_t bucket = batch_bucket(round.batch_rows);
    weights.push_back(w);
    logged[bucket] += round.tokens;
    weighted[bucket] += w * round.tokens;
    sum[bucket] += w;
    count[bucket] += 1;
    squares[bucket] += w * w;
    result.agreed += w > 0 ? 1 : 0;
  }
  // A weight's mean is 1 over all that can happen: what is missing from it was never seen.
  result.coverage = 1;
  for (std::size_t b = 0; b < kBatchBuckets; ++b)
    if (count[b] > 0) result.coverage = std::min(result.coverage, sum[b] / count[b]);
  // Time per token differs between batch sizes far more than between policies: every size keeps its logged
  // share.
  std::map<std::uint64_t, Sums> sequences;
  Sums all;
  for (std::size_t i = 0; i < rounds.size(); ++i) {
    const std::size_t bucket = batch_bucket(rounds[i].batch_rows);
    if (weights[i] <= 0) continue;
    const double w = weights[i] * logged[bucket] / weighted[bucket];
    Sums one{w * rounds[i].tokens, 0};
    for (const LoggedDecision& d : rounds[i].decisions) one.us += w * static_cast<double>(d.cost_us);
    sequences[rounds[i].sequence].add(one);
    all.add(one);
  }
  if (all.tokens <= 0) return result;
  result.us_per_token = all.us / all.tokens;
  for (std::size_t b = 0; b < kBatchBuckets; ++b)
    if (squares[b] > 0) result.effective_samples += sum[b] * sum[b] / squares[b];
  std::vector<Sums> each;
  for (const auto& [sequence, sums] : sequences) each.push_back(sums);
  std::mt19937_64 random(seed);
  std::vector<double> drawn;
  for (int i = 0; i < kResamples; ++i) {
    Sums sample;
    for (std::size_t n = 0; n < each.size(); ++n) sample.add(each[random() % each.size()]);
    drawn.push_back(sample.us / sample.tokens);
  }
  std::ranges::sort(drawn);
  result.low = drawn[kResamples / 40];
  result.high = drawn[kResamples - 1 - kResamples / 40];
  return result;
}

std::unique_ptr<ExitPolicy> make_logged_static(std::int32_t exit, std::int32_t drafts) {
  return std::make_unique<LoggedStatic>(exit, drafts);
}

BestStatic best_static(std::span<const Trajectory> rounds, std::int32_t layers,
                       std::span<const std::int32_t> exits, std::int32_t max_draft) {
  BestStatic best;
  best.estimate = estimate(rounds, *make_off_policy(), layers, exits);
  for (const std::int32_t exit : exits) {
    for (std::int32_t drafts = 1; drafts <= max_draft; ++drafts) {
      const OffPolicyEstimate one = estimate(rounds, *make_logged_static(exit, drafts), layers, exits);
      const bool known =
          one.effective_samples >= kLeastEffectiveSamples / 4 && one.coverage >= kLeastCoverage;
      if (known && (best.estimate.us_per_token <= 0 || one.us_per_token < best.estimate.us_per_token))
        best = {exit, drafts, one};
    }
  }
  return best;
}

}  // namespace leadline::policy
