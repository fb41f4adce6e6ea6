#pragma once
// SpeculationGuard: switches drafting off where it loses and tries again later, per bucket of batch size. Not
// a policy: it knows nothing of exits, only what steps cost and gave. A value with pure transitions: no
// clock, no randomness. Thread: the step thread of rank 0 owns one.
//
// It compares time per token of speculating steps with that of plain steps of the same bucket: decayed sums
// of both. The plain side must be known, so every now and then a step is made plain on purpose, and after a
// loss a few steps speculate on purpose; what these trials lose is charged to a budget that is a fixed share
// of the time spent in the bucket. No budget, no trial (after the first few steps).

#include <array>
#include <cstddef>
#include <cstdint>

namespace leadline::policy {

inline constexpr std::size_t kGuardBuckets = 8;  // 1, 2-3, 4-7, ... 128 and more sequences that decode

struct GuardSettings {
  double decay = 0.98;       // per observed step of one side
  double margin = 0.01;      // speculation must be at most (1 + margin) x plain to go on
  double budget = 0.01;      // share of a bucket's time that trials may lose
  std::uint32_t settle = 8;  // steps of each side before it is judged
  std::uint32_t trial = 4;   // speculating steps in a row of one trial
  std::uint32_t first_wait = 64,
                longest_wait = 4096;  // plain steps before the next trial; doubles with each loss
  std::uint32_t plain_every = 128;    // while speculating: one plain step in so many, to know what it costs
};

enum class GuardChoice : std::uint8_t { speculate, plain };

struct StepCost {
  std::uint32_t decoding = 1;  // sequences that decoded
  double us = 0;               // of the step
  double tokens = 0;           // that it gave to them
  bool speculated = false;     // at least one of them drafted
  bool mixed = false;          // with prompt rows: not comparable, ignored
};

class SpeculationGuard {
 public:
  explicit SpeculationGuard(const GuardSettings& settings = {}) : settings_(settings) {}

  [[nodiscard]] GuardChoice choose(std::uint32_t decoding) const;
  void observe(const StepCost& step);

  [[nodiscard]] bool is_off(std::uint32_t decoding) const { return bucket(decoding).off; }
  // us per token saved (> 0) or lost by speculating, of what is known; 0 before both sides are.
  [[nodiscard]] double saving(std::uint32_t decoding) const;
  struct Totals {
    double saved_us = 0, lost_us = 0;  // of speculating steps against plain ones of their bucket
    std::uint64_t switched_off = 0, trials = 0;
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }
  [[nodiscard]] static std::size_t bucket_of(std::uint32_t decoding);

 private:
  struct Side {
    double us = 0, tokens = 0;  // decayed
    std::uint32_t steps = 0;    // saturating
    [[nodiscard]] double per_token() const { return tokens > 0 ? us / tokens : 0; }
  };
  struct Bucket {
    Side speculating, plain;
    bool off = false;
    std::uint32_t wait = 0;       // plain steps until the next trial, while off
    std::uint32_t next_wait = 0;  // how long the next wait is
    std::uint32_t trying = 0;     // speculating steps left of the trial at hand
    std::uint32_t since_plain = 0;
    double spent_us = 0, lost_us = 0;  // of all steps; by trials
  };
  [[nodiscard]] const Bucket& bucket(std::uint32_t decoding) const { return buckets_[bucket_of(decoding)]; }
  void judge(Bucket& b);

  // Constant after construction.
  GuardSettings settings_;
  // Owned by the step thread.
  std::array<Bucket, kGuardBuckets> buckets_{};
  Totals totals_;
};

}  // namespace leadline::policy
