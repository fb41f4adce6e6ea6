#pragma once
// Budgets: how many slots stay in a layer. Not which ones (selector.h). Thread: pure. Invariants: between 1
// and the slots there are; the sum over layers is at most layers * mean_budget(), and short of it by rounding
// only, where no layer is full.

#include <cstdint>

#include "worker/compression/compression_policy.h"

namespace leadline::worker {

// Slots per layer and head that the parameters ask for, in [1, slots].
std::uint32_t mean_budget(const CompressionParams& params, std::uint32_t slots);

// The same in every layer.
std::uint32_t constant_budget(const CompressionParams& params, std::uint32_t slots, std::uint32_t layer,
                              std::uint32_t layers);

// PyramidKV (2406.02069, section 4.2): from bmax in layer 0 down a straight line to bmin; b = C - w, bmin = b
// / beta, bmax = 2 b - bmin, beta 20; bmax is clipped to what there is, bmin raised by as much.
std::uint32_t pyramid_budget(const CompressionParams& params, std::uint32_t slots, std::uint32_t layer,
                             std::uint32_t layers);

// WindowKV (2503.17922, section 3.3): one budget per group of ceil(layers / 4) layers, an arithmetic sequence
// whose last term is 8/14 of the mean; what clipping at the prompt's length leaves over goes to other groups.
std::uint32_t grouped_budget(const CompressionParams& params, std::uint32_t slots, std::uint32_t layer,
                             std::uint32_t layers);

}  // namespace leadline::worker
