#pragma once
// TaskClassifier: WindowKV's question about a prompt (2503.17922, section 3.1): does it ask where something
// stands, or about all of a text? A linear model of token ids. Not the training
// (models/reference/train/window_task.py) and not the file (worker/runtime/task_weights.h). Thread:
// immutable. Invariant: a pure function of the ids: sums run in the prompt's order, so the answer is the same
// everywhere.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace leadline::worker {

enum class WindowTask : std::uint8_t {
  localisation = 0,  // a window counts by the best half of its slots (max)
  aggregation = 1    // by all of them (mean)
};

class TaskClassifier {
 public:
  // Tokens from the start of the prompt; negative: from its end. Each part has a row of weights.
  static constexpr std::array<std::int32_t, 4> kParts = {256, -256, 48, -48};

  // weights: (parts, vocab), row by row. REQUIRES: vocab > 0 and a weight for every part and id.
  TaskClassifier(std::vector<float> weights, float bias, std::uint32_t vocab);

  // Ids outside the vocabulary weigh nothing; no prompt is localisation.
  [[nodiscard]] WindowTask classify(std::span<const std::int32_t> prompt) const;

 private:
  std::vector<float> weights_;
  float bias_;
  std::uint32_t vocab_;
};

}  // namespace leadline::worker
