#pragma once
// LEDE's own training (arXiv 2606.03113 sections as in seed_methods 1.1 and 1.2): its reward, its three
// features, its n-step DQN, over recorded answers instead of live ones. A baseline for comparison, with its
// own reward and not ours. What the paper leaves open follows seed_methods 1.6: tokens of an answer are
// chained, C_trace comes from the distribution that produced each committed token. Thread: pure.

#include <functional>
#include <span>

#include "policy/learned_policy.h"
#include "policy/trainer/decode_trace.h"

namespace leadline::policy {

struct LedeOptions {
  int steps = 20000;
  int n_step = 3;
  float gamma = 0.99F, explore = 0.3F;
  std::uint64_t seed = 1;
  std::function<void(int step, float loss)> progress;
};

// candidates: the exits that it climbs through, some of the trace's.
[[nodiscard]] LearnedModel train_lede(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                                      std::vector<std::int32_t> candidates, const LedeOptions& options);

}  // namespace leadline::policy
