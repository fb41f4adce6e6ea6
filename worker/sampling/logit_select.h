#pragma once
// Selections over a row of values without sorting all of it: maximum, the k largest, the smallest set of a
// given mass. Not sampling: no randomness, no meaning of an index. -inf means absent, NaN must not occur.
// Order everywhere: larger value first, equal values by smaller index. Cost: a few passes over n, sorting
// only what is kept at the edge. Thread: any; pure.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace leadline::worker {

// The largest value; -inf for none.
float max_value(std::span<const float> values);

// Index of the first largest value; -1 when all are -inf.
std::int32_t arg_max(std::span<const float> values);

// Sum of exp(v - max), over fixed lanes in one order, so a function of the values alone. REQUIRES: max
// finite.
double sum_exp(std::span<const float> values, float max);

// The k largest that are not -inf, in order. Fewer if there are fewer.
void select_top_k(std::span<const float> values, std::int32_t k, std::vector<std::int32_t>& out);

// values[i] = -inf for all but the k largest.
void keep_top_k(std::span<float> values, std::int32_t k, std::vector<std::int32_t>& scratch);

// values[i] = -inf for all i such that the values before i in order already have mass >= p (mass = exp(v),
// normalised). REQUIRES: the largest value is 0 (shifted by the maximum).
void keep_top_p(std::span<float> values, float p, std::vector<float>& weights,
                std::vector<std::int32_t>& scratch);

}  // namespace leadline::worker
