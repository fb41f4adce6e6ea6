#include "worker/compression/semantic_clusters.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/compression/scorer.h"

namespace leadline::worker {
namespace {

struct Chunk {
  std::uint32_t first = 0, last = 0;  // [first, last)
};

// What stays alone, and the chunks of the rest.
struct Cut {
  std::vector<std::uint32_t> single;
  std::vector<Chunk> chunks;
};

Cut cut_text(const HeadInput& head, PinnedRange pins, std::uint32_t chunk_tokens, bool delimiters_stay) {
  Cut cut;
  const std::uint32_t end = head.slots - pins.recent;
  for (std::uint32_t i = 0; i < pins.first; ++i) cut.single.push_back(i);
  Chunk open{pins.first, pins.first};
  const auto close = [&](std::uint32_t next) {
    if (open.last > open.first) cut.chunks.push_back(open);
    open = {next, next};
  };
  for (std::uint32_t i = pins.first; i < end; ++i) {
    const bool delimiter = !head.delimiters.empty() && head.delimiters[i] != 0;
    if (delimiter && delimiters_stay) {
      close(i + 1);
      cut.single.push_back(i);
      continue;
    }
    open.last = i + 1;
    if (delimiter || open.last - open.first == chunk_tokens) close(i + 1);
  }
  close(end);
  for (std::uint32_t i = end; i < head.slots; ++i) cut.single.push_back(i);
  return cut;
}

// Neighbours joined up to `times` chunks each, unless a pin or a delimiter stands between and stays.
std::vector<Chunk> join_chunks(const std::vector<Chunk>& chunks, std::uint32_t times) {
  std::vector<Chunk> joined;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (i % times != 0 && joined.back().last == chunks[i].first)
      joined.back().last = chunks[i].last;
    else
      joined.push_back(chunks[i]);
  }
  return joined;
}

// A chunk beyond this came from joining neighbours for a tiny budget: it becomes one core without comparing.
constexpr std::uint32_t kLargestCompared = 1024;

// Cosines of all pairs of a chunk, so that several thresholds can be tried on them.
class Likeness {
 public:
  Likeness(const HeadInput& head, Chunk chunk) : chunk_(chunk), size_(chunk.last - chunk.first) {
    if (size_ > kLargestCompared) return;
    std::vector<float> unit(std::size_t{size_} * head.head_dim);
    for (std::uint32_t i = 0; i < size_; ++i) {
      const float* key = head.keys.data() + std::size_t{chunk.first + i} * head.head_dim;
      const float norm = std::sqrt(dot(key, key, head.head_dim));
      const float scale = norm > 0 && std::isfinite(norm) ? 1 / norm : 0;
      for (std::uint32_t d = 0; d < head.head_dim; ++d)
        unit[std::size_t{i} * head.head_dim + d] = key[d] * scale;
    }
    cosine_.resize(std::size_t{size_} * size_);
    for (std::uint32_t i = 0; i < size_; ++i)
      for (std::uint32_t j = i + 1; j < size_; ++j)
        cosine_[std::size_t{i} * size_ + j] =
            std::min(1.0F, dot(unit.data() + std::size_t{i} * head.head_dim,
                               unit.data() + std::size_t{j} * head.head_dim, head.head_dim));
  }

  // Seed of every slot of the chunk; returns the number of clusters.
  std::uint32_t assign(float threshold, std::vector<std::uint32_t>& seed) const {
    seed.assign(size_, UINT32_MAX);
    if (size_ > kLargestCompared) {
      seed.assign(size_, 0);
      return 1;
    }
    std::uint32_t clusters = 0;
    for (std::uint32_t i = 0; i < size_; ++i) {
      if (seed[i] != UINT32_MAX) continue;
      seed[i] = i;
      ++clusters;
      const float* row = cosine_.data() + std::size_t{i} * size_;
      for (std::uint32_t j = i + 1; j < size_; ++j)
        if (seed[j] == UINT32_MAX && row[j] > threshold) seed[j] = i;
    }
    return clusters;
  }
  [[nodiscard]] Chunk chunk() const { return chunk_; }

 private:
  Chunk chunk_;
  std::uint32_t size_;
  std::vector<float> cosine_;  // (size, size), above the diagonal
};

SlotGroups collect(const std::vector<std::uint32_t>& single, const std::vector<Likeness>& chunks,
                   float threshold) {
  std::vector<std::vector<std::uint32_t>> groups;
  for (const std::uint32_t slot : single) groups.push_back({slot});
  std::vector<std::uint32_t> seed;
  std::vector<std::uint32_t> at;
  for (const Likeness& chunk : chunks) {
    chunk.assign(threshold, seed);
    at.assign(seed.size(), 0);
    for (std::uint32_t i = 0; i < seed.size(); ++i) {
      if (seed[i] == i) {
        at[i] = static_cast<std::uint32_t>(groups.size());
        groups.emplace_back();
      }
      groups[at[seed[i]]].push_back(chunk.chunk().first + i);
    }
  }
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.front() < b.front(); });
  SlotGroups result;
  for (const auto& group : groups) {
    result.members.insert(result.members.end(), group.begin(), group.end());
    result.close();
  }
  return result;
}

std::vector<Likeness> likeness_of(const HeadInput& head, const std::vector<Chunk>& chunks) {
  std::vector<Likeness> all;
  all.reserve(chunks.size());
  for (const Chunk& chunk : chunks) all.emplace_back(head, chunk);
  return all;
}

std::uint32_t count_at(const std::vector<std::uint32_t>& single, const std::vector<Likeness>& chunks,
                       float threshold) {
  std::vector<std::uint32_t> seed;
  auto count = static_cast<std::uint32_t>(single.size());
  for (const Likeness& chunk : chunks) count += chunk.assign(threshold, seed);
  return count;
}

}  // namespace

SlotGroups clusters_at(const HeadInput& head, PinnedRange pins, float threshold) {
  const Cut cut = cut_text(head, pins, kChunkTokens, true);
  return collect(cut.single, likeness_of(head, cut.chunks), threshold);
}

namespace {

// A cut of the text whose floor of one core per chunk fits the budget, and the highest threshold that does.
struct Fit {
  Cut cut;
  std::vector<Likeness> chunks;
  float threshold = -2;  // below any cosine: one core per chunk
};

Fit fit_of(const HeadInput& head, Cut cut, std::uint32_t budget) {
  Fit fit{.cut = std::move(cut), .chunks = {}};
  fit.chunks = likeness_of(head, fit.cut.chunks);
  // The count falls with the threshold but for a greedy choice here and there; the last one that fits is
  // taken.
  float high = 1;
  for (float low = -1; high - low > 0x1p-12F;) {
    const float middle = (low + high) / 2;
    if (count_at(fit.cut.single, fit.chunks, middle) <= budget) {
      fit.threshold = middle;
      low = middle;
    } else {
      high = middle;
    }
  }
  return fit;
}

}  // namespace

SlotGroups clusters_within(const HeadInput& head, PinnedRange pins, std::uint32_t budget) {
  const auto floor = [](const Cut& cut) { return cut.single.size() + cut.chunks.size(); };
  Cut alone = cut_text(head, pins, kChunkTokens, true), joined = cut_text(head, pins, kChunkTokens, false);
  if (floor(joined) > budget) {
    const std::vector<Chunk> chunks = joined.chunks;
    for (std::uint32_t times = 2; floor(joined) > budget && joined.chunks.size() > 1; times *= 2)
      joined.chunks = join_chunks(chunks, times);
  }
  Fit best = fit_of(head, std::move(joined), budget);
  if (floor(alone) <= budget)
    if (Fit other = fit_of(head, std::move(alone), budget); other.threshold >= best.threshold)
      best = std::move(other);
  return collect(best.cut.single, best.chunks, best.threshold);
}

SlotGroups select_clusters(const HeadInput& head, const CompressionParams& params,
                           std::span<const float> /*scores*/, std::uint32_t budget) {
  // With a fixed threshold the recent window is the schedule's or the prompt's; pins do not depend on a
  // budget, so a system prompt stays whole.
  if (params.by_threshold) {
    PinnedRange pins = pinned(params.pins, head.slots, head.slots);
    pins.first = std::max(pins.first, std::min(params.pins.prefix, head.slots));
    pins.recent = std::min(pins.recent, head.slots - pins.first);
    return clusters_at(head, pins, params.threshold);
  }
  return clusters_within(head, pinned(params.pins, head.slots, budget), budget);
}

}  // namespace leadline::worker
