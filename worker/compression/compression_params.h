#pragma once
// CompressionParams: what a step plan says of how a sequence is compressed: the method's row, budget, pins.
// Not the methods (compression_policy.h). Thread: values. Invariant: plain bytes, the same on every rank.

#include <cstdint>

namespace leadline::worker {

// Which part of the attention a method reads. The engine computes only what is asked for.
enum CompressionTap : std::uint8_t {
  kTapNone = 0,
  kTapWindow = 1,   // probabilities of the last rows of the prompt on every slot
  kTapColumns = 2,  // probabilities of all rows of the prompt, summed per slot
  kTapKeys = 4,     // the keys as the pages hold them: rounded and rotated
  kTapTokens = 8,   // token ids and which of them are delimiters
};

// Slots that no method may drop or merge. They count in the budget and are cut to a share of it, so that a
// small budget still leaves room for choices (selector.h).
struct CompressionPins {
  std::uint32_t first = 4;    // attention sinks; at least this, and all of `prefix`
  std::uint32_t recent = 32;  // the end of the prompt
  std::uint32_t prefix = 0;   // a system prompt, at most half of the budget
  friend bool operator==(const CompressionPins&, const CompressionPins&) = default;
};

struct CompressionParams {
  std::uint8_t method = 0;    // row of the method table
  float ratio = 1;            // of the slots that stay, in (0, 1]
  std::uint32_t tokens = 0;   // > 0: slots that stay per layer and head, on average over layers; beats ratio
  bool by_threshold = false;  // merge what is more alike than `threshold`, whatever the budget
  float threshold = 1;        // cosine, [-1, 1]
  std::uint32_t window = 32;  // rows of the observation window, at most a quarter of the budget
  std::uint8_t task = 0;      // WindowTask: 0 localisation (max), 1 aggregation (mean)
  bool append = false;        // segments under X4's schedule instead of once at the prompt's end
  CompressionPins pins;
  friend bool operator==(const CompressionParams&, const CompressionParams&) = default;
};

}  // namespace leadline::worker
