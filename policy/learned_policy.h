#pragma once
// Learned policies: Q-values of a small network, greedy among the legal actions. `lede` is the paper's own
// (arXiv 2606.03113: three features, exit or continue); `benefit` is ours: what is left to win of tokens -
// lambda * cost, over all actions. Not training. Thread: immutable; any.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy/exit_policy.h"
#include "policy/mlp.h"

namespace leadline::policy {

enum class LearnedKind : std::uint32_t { lede = 1, benefit = 2 };

// Outputs of a benefit network; climb to exit e of the model is kClimb + e.
enum BenefitOutput : std::size_t { kPlain = 0, kGoOn = 1, kStop = 2, kKeepAndStop = 3, kClimb = 4 };
inline constexpr std::size_t kBenefitInputs = kFeatureCount + 3;  // and one of three for the decision kind
inline constexpr std::size_t kLedeInputs = 3, kLedeOutputs = 2;   // C_l, H_l, C_trace -> continue, exit

struct LearnedModel {
  LearnedKind kind = LearnedKind::benefit;
  std::int32_t layers = 0;          // of the model that it was trained for
  std::vector<std::int32_t> exits;  // candidates, ascending
  std::int32_t max_draft = 12;
  std::vector<float> mean, scale;  // per input: (x - mean) * scale, clamped to +-8
  Mlp net;
  [[nodiscard]] bool valid() const;
};

// The network's input at a point; `in` has as many as the model has inputs.
void learned_inputs(const LearnedModel& model, const DecisionPoint& point, std::span<float> in);

// Output index <-> action. An action that no output stands for: -1. max_draft goes into round_start's climbs.
[[nodiscard]] int benefit_output_of(const LearnedModel& model, const Action& action);
[[nodiscard]] Action benefit_action(const LearnedModel& model, std::size_t output, DecisionKind kind,
                                    std::int32_t max_draft);

// The same at a point: with its exit, and as many drafts as it and the model allow. May be illegal there.
[[nodiscard]] Action output_action(const LearnedModel& model, std::size_t output, const DecisionPoint& point);

// REQUIRES valid(). At points of a model with other candidates only what is legal there is chosen.
[[nodiscard]] std::unique_ptr<ExitPolicy> make_learned_policy(LearnedModel model);

}  // namespace leadline::policy
