#pragma once
// The shapes that decode steps are padded to, so that a device records few of them: 1, 2, 4, 8, 16, 24, 32,
// 48, 64, 96, 128, ... Pure. Not a limit of batches. Thread: any. Invariant: fewer than half of a bucket's
// rows do nothing.

#include <cstdint>

namespace leadline::worker {

// The smallest bucket that holds `count`.
constexpr std::int32_t step_bucket(std::int32_t count) {
  std::int32_t bucket = 1, power = 1;  // power: the largest one that is at most the bucket
  while (bucket < count) {
    bucket = bucket < 8 ? bucket * 2 : bucket + (power / 2 > 8 ? power / 2 : 8);
    if (bucket >= power * 2) power *= 2;
  }
  return bucket;
}

}  // namespace leadline::worker
