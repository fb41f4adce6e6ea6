#pragma once
// Training of the EvictionRanker: regression of log1p(seconds until the next use) on the six features,
// squared error, Adam, mini-batches, from a fixed seed (same samples, same network). Not the samples
// (kvstore/replay makes them from a log) and not the decision whether it is good enough (deploy/cli/kv_train
// replays it). Thread: the caller's.

#include <span>

#include "policy/eviction_ranker.h"

namespace leadline::policy {

struct EvictionSample {
  EvictionFeatures features{};
  float seconds = 0;  // until the next use; horizon_s stands for later and never
};

struct EvictionTrainingOptions {
  float horizon_s = 3600;
  int epochs = 12;
  std::size_t batch = 256;
  float rate = 2e-3F;
  std::uint64_t seed = 1;
};

struct EvictionTraining {
  EvictionNetwork network;
  double loss = 0;           // mean squared error of the logarithm, over all samples, at the end
  double constant_loss = 0;  // of the best constant: what the features have to beat
};

// configuration: no samples, or options out of range.
[[nodiscard]] Result<EvictionTraining> train_eviction(std::span<const EvictionSample> samples,
                                                      const EvictionTrainingOptions& options);

}  // namespace leadline::policy
