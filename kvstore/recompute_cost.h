#pragma once
// RecomputeCost: what computing a block again is expected to take, a line over its depth: attention grows
// with what is before it. For eviction policies that weigh a miss. Not measured here: the rank that plans
// tells it (BlockPlan). Thread: any; the two numbers may be of two tellings for a moment, which no policy
// minds. Invariant: of() is finite and not negative.

#include <atomic>
#include <cstdint>

namespace leadline::kvstore {

class RecomputeCost {
 public:
  void set(double first_s, double growth_s) {  // of a chain's first block; more with each block before it
    first_s_ = first_s;
    growth_s_ = growth_s;
  }
  [[nodiscard]] double of(std::uint32_t depth) const { return first_s_ + growth_s_ * depth; }

 private:
  std::atomic<double> first_s_{0.016}, growth_s_{0};  // before a prefill was measured: 1 ms a token
};

}  // namespace leadline::kvstore
