#pragma once
// Attention probabilities rebuilt from queries and keys, for the taps: rows of the observation window, and
// sums over all rows. Not attention (the backend's): probabilities are f32 in one plain order and only
// ranked. Thread: pure. Invariants: a row's probabilities depend on its query and the keys it sees alone;
// rows are added in the order of their positions, so chunking changes no bit.

#include <cstdint>
#include <span>

namespace leadline::worker {

// Query rows of one KV head's group: (rows, group, head_dim), of which row r sees slots [0, first + r].
struct QueryRows {
  const float* queries = nullptr;
  std::int64_t row_stride = 0;  // floats between rows; heads of the group lie end to end
  std::uint32_t rows = 0, group = 1, head_dim = 0;
  std::uint32_t first = 0;  // slot that row 0 wrote
  float scale = 1;
};

// sums[j] += mean over the group of softmax(q . k * scale)[j], row by row. keys: (>= first + rows, head_dim).
// scratch is grown as needed and reused.
void add_probabilities(const QueryRows& rows, std::span<const float> keys, std::span<float> sums);

}  // namespace leadline::worker
