#include "worker/compression/merger.h"

#include <algorithm>
#include <cmath>

namespace leadline::worker {
namespace {

void mean_of(std::span<const std::uint32_t> members, std::span<const float> rows, std::uint32_t dim,
             float* out) {
  std::copy_n(rows.data() + std::size_t{members[0]} * dim, dim, out);
  if (members.size() == 1) return;
  for (const std::uint32_t slot : members.subspan(1)) {
    const float* row = rows.data() + std::size_t{slot} * dim;
    for (std::uint32_t d = 0; d < dim; ++d) out[d] += row[d];
  }
  const auto count = static_cast<float>(members.size());
  for (std::uint32_t d = 0; d < dim; ++d) out[d] /= count;
}

}  // namespace

void merge_means(const SlotGroups& groups, const HeadSlots& slots, const MergedSlots& out) {
  const std::uint32_t dim = slots.head_dim;
  for (std::uint32_t g = 0; g < groups.size(); ++g) {
    const std::span<const std::uint32_t> members = groups.group(g);
    mean_of(members, slots.keys, dim, out.keys.data() + std::size_t{g} * dim);
    mean_of(members, slots.values, dim, out.values.data() + std::size_t{g} * dim);
    out.bias[g] = members.size() == 1 ? 0.0F : std::log(static_cast<float>(members.size()));
  }
}

}  // namespace leadline::worker
