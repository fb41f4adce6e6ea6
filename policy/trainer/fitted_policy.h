#pragma once
// Fitted policy: policy iteration on recorded answers with full information. Each iteration tries every
// action of every decision that the current policy passes (rollout), fits a network to what they gave, and
// takes the network's best action as the next policy; lambda follows. Not judgement: the caller chooses an
// iteration on answers that were not learned from, and training.h's judge() decides what may be exported.
// Thread: one. Invariant: the same trace, costs, options and seed give the same networks.

#include <functional>
#include <span>
#include <vector>

#include "policy/learned_policy.h"
#include "policy/trainer/rollout.h"

namespace leadline::policy {

struct FitOptions {
  std::vector<std::int32_t> batches{1, 4, 16};
  int iterations = 8, steps = 8000, samples = 256;  // steps: of the network, in each iteration
  int keep = 2;                                     // iterations whose decisions are learned from
  std::vector<std::uint32_t> hidden{64, 64};
  float rate = 2e-3F;  // falls to a twentieth along a cosine
  RolloutOptions rollout;
};

struct FitProgress {
  int iteration = 0;
  std::size_t decisions = 0;
  float loss = 0;                    // mean of the last steps
  std::vector<double> us_per_token;  // of the policy before it, by batch, in the mean field
};

// Calls `done` after each iteration with its model.
void fit_policy(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers, const CostTable& costs,
                const FitOptions& options,
                const std::function<void(const LearnedModel&, const FitProgress&)>& done);

}  // namespace leadline::policy
