#pragma once
// Offline Q-learning: transitions in, a network out; nothing is asked of a server. n-step returns with a
// target network (as Rainbow's), optional conservative term. Not rewards (reward.h) and not judgement
// (off_policy_eval). Thread: one; reports progress by callback. Invariant: the same data, options and seed
// give the same network.

#include <cstdint>
#include <functional>
#include <vector>

#include "policy/mlp.h"

namespace leadline::policy {

// A sample: state, chosen action, n-step return, and where it ended.
struct Transitions {
  std::size_t inputs = 0, outputs = 0;
  std::vector<float> states, next_states;       // (samples, inputs)
  std::vector<std::uint8_t> legal, next_legal;  // (samples, outputs)
  std::vector<int> chosen;                      // (samples)
  std::vector<float> returns, discounts;        // (samples); discount 0: the end, no bootstrap
  [[nodiscard]] std::size_t size() const { return chosen.size(); }
};

struct QOptions {
  std::vector<std::uint32_t> hidden{48, 48};
  int steps = 20000, batch = 256, target_every = 500;
  float rate = 1e-3F;      // falls to a tenth along a cosine
  float conservative = 0;  // weight of the CQL term
  std::uint64_t seed = 1;
  std::function<void(int step, float loss)> progress;  // every report_every steps
  int report_every = 1000;
};

[[nodiscard]] Mlp train_q(const Transitions& data, const QOptions& options);

}  // namespace leadline::policy
