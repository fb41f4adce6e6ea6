#include "worker/compression/window_scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace leadline::worker {
namespace {

constexpr std::uint32_t kBlock = 64;  // slots whose keys are turned once for all queries of a block of rows
constexpr std::uint32_t kRowBlock = 16;

// logits[q][slot] for slots [begin, end) of a transposed block (head_dim, kBlock), one chain over head_dim
// each.
void block_logits(const float* turned, const float* query, std::uint32_t dim, float scale, float* logits) {
  std::array<float, kBlock> sums{};
  for (std::uint32_t d = 0; d < dim; ++d) {
    const float q = query[d];
    const float* column = turned + std::size_t{d} * kBlock;
    for (std::uint32_t s = 0; s < kBlock; ++s) sums[s] += q * column[s];
  }
  for (std::uint32_t s = 0; s < kBlock; ++s) logits[s] = sums[s] * scale;
}

void add_softmax(std::span<float> logits, float weight, std::span<float> sums) {
  const float top = *std::max_element(logits.begin(), logits.end());
  float total = 0;
  for (float& x : logits) {
    x = std::exp(x - top);
    total += x;
  }
  const float share = weight / total;
  for (std::size_t i = 0; i < logits.size(); ++i) sums[i] += logits[i] * share;
}

}  // namespace

void add_probabilities(const QueryRows& rows, std::span<const float> keys, std::span<float> sums) {
  const std::uint32_t dim = rows.head_dim;
  std::vector<float> turned(std::size_t{dim} * kBlock);
  for (std::uint32_t from = 0; from < rows.rows; from += kRowBlock) {
    const std::uint32_t count = std::min(kRowBlock, rows.rows - from);
    const std::uint32_t seen = rows.first + from + count;  // slots that the block's last row sees
    const std::uint32_t padded = (seen + kBlock - 1) / kBlock * kBlock;
    std::vector<float> logits(std::size_t{count} * rows.group * padded);
    for (std::uint32_t block = 0; block < seen; block += kBlock) {
      const std::uint32_t slots = std::min(kBlock, seen - block);
      for (std::uint32_t s = 0; s < slots; ++s)
        for (std::uint32_t d = 0; d < dim; ++d)
          turned[std::size_t{d} * kBlock + s] = keys[std::size_t{block + s} * dim + d];
      for (std::uint32_t r = 0; r < count; ++r)
        for (std::uint32_t g = 0; g < rows.group; ++g)
          block_logits(turned.data(), rows.queries + (from + r) * rows.row_stride + std::size_t{g} * dim, dim,
                       rows.scale, logits.data() + (std::size_t{r} * rows.group + g) * padded + block);
    }
    for (std::uint32_t r = 0; r < count; ++r)
      for (std::uint32_t g = 0; g < rows.group; ++g)
        add_softmax({logits.data() + (std::size_t{r} * rows.group + g) * padded, rows.first + from + r + 1},
                    1.0F / static_cast<float>(rows.group), sums);
  }
}

}  // namespace leadline::worker
