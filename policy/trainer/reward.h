#pragma once
// Reward: the only definition of what a learned policy is after. Ours: tokens - lambda * cost, where lambda
// is the current policy's tokens per microsecond at that batch size: at the fixed point the average round is
// worth 0 and what is worth more than 0 makes answers faster. LEDE's is in lede_training. Thread: pure.

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>

#include "policy/trajectory.h"

namespace leadline::policy {

inline constexpr std::size_t kBatchBuckets = 8;  // 1, 2-3, 4-7, ... 128 and more

[[nodiscard]] std::size_t batch_bucket(std::int32_t batch_rows);

// Tokens per microsecond of a sequence's own share of the time. One per sequence, because a request's tokens
// are what they are: the time of all is least where the time of each is, and text that drafts well is worth
// less patience with a draft than text that does not. Known from the sequence's own rounds, drawn towards its
// bucket's rate.
struct Lambda {
  std::array<double, kBatchBuckets> of{};              // of all rounds of a bucket
  std::unordered_map<std::uint64_t, double> relative;  // of a sequence, to its bucket; absent: 1
  [[nodiscard]] double at(const Trajectory& round) const;
};

// Of the logs as they are; a bucket without rounds takes its neighbour's value. REQUIRES: not empty.
[[nodiscard]] Lambda behaviour_lambda(std::span<const Trajectory> rounds);

// Of decision `index`: what is spent from it to the next one, and the tokens that it won: the draft that it
// ran, if that one stood, and the model's own token at the end of the round. Over a climbed round they add up
// to tokens - lambda * cost; each stands where it was decided, which keeps the variance of returns small.
[[nodiscard]] float reward_of(const Trajectory& round, std::size_t index, const Lambda& lambda);

}  // namespace leadline::policy
