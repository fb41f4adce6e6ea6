// SemantiCache's chunks and clusters against the paper's algorithm written out.

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/worker/compression/sample_head.h"
#include "worker/compression/semantic_clusters.h"

namespace leadline::tests {
namespace {

using namespace leadline::worker;

float cosine(const SampleHead& head, std::uint32_t a, std::uint32_t b) {
  double dot = 0, x = 0, y = 0;
  for (std::uint32_t d = 0; d < head.input.head_dim; ++d) {
    const double u = head.keys[std::size_t{a} * head.input.head_dim + d],
                 v = head.keys[std::size_t{b} * head.input.head_dim + d];
    dot += u * v;
    x += u * u;
    y += v * v;
  }
  return x == 0 || y == 0 ? 0 : static_cast<float>(dot / std::sqrt(x * y));
}

// Section 2.1, steps 1 and 2, slot by slot.
SlotGroups plain_clusters(const SampleHead& head, float threshold) {
  const std::uint32_t n = head.input.slots;
  std::vector<std::uint32_t> chunk(n), size(n);
  for (std::uint32_t i = 0, at = 0, length = 0; i < n; ++i) {
    if (head.delimiters[i] != 0) {
      chunk[i] = ++at;
      ++at;
      length = 0;
      continue;
    }
    chunk[i] = at;
    if (++length == kChunkTokens) ++at, length = 0;
  }
  std::vector<bool> assigned(n);
  SlotGroups groups;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (assigned[i]) continue;
    groups.members.push_back(i);
    for (std::uint32_t j = i + 1; j < n && head.delimiters[i] == 0; ++j)
      if (!assigned[j] && chunk[j] == chunk[i] && cosine(head, i, j) > threshold) {
        assigned[j] = true;
        groups.members.push_back(j);
      }
    groups.close();
  }
  return groups;
}

TEST(SemanticClusters, AreThePapers) {
  for (const float threshold : {-0.9F, 0.0F, 0.2F, 0.5F, 0.8F}) {
    const SampleHead head(300, 5);
    EXPECT_EQ(clusters_at(head.input, {}, threshold), plain_clusters(head, threshold)) << threshold;
  }
}

TEST(SemanticClusters, LongTextWithoutDelimitersIsCut) {
  SampleHead head(200);
  std::fill(head.delimiters.begin(), head.delimiters.end(), 0);
  const SlotGroups groups = clusters_at(head.input, {}, -2);
  ASSERT_EQ(groups.size(), 4U);  // 64 + 64 + 64 + 8
  EXPECT_EQ(groups.group(3).size(), 8U);
}

TEST(SemanticClusters, AThresholdOfOneMergesNothingAndZeroKeysStayAlone) {
  SampleHead head(50);
  for (std::uint32_t i = 0; i < 20 * head.input.head_dim; ++i) head.keys[i] = 0;
  for (std::uint32_t i = 20 * head.input.head_dim; i < head.keys.size(); ++i) head.keys[i] = 3;
  EXPECT_EQ(clusters_at(head.input, {}, 1), all_slots(50));
  const SlotGroups groups = clusters_at(head.input, {}, 0.0F);
  for (std::uint32_t i = 0; i < 20; ++i) EXPECT_EQ(groups.group(i).size(), 1U);
  EXPECT_LT(groups.size(), 50U);
}

TEST(SemanticClusters, ABudgetIsMetFromBelow) {
  const SampleHead head(1000, 3);
  for (const std::uint32_t budget : {900U, 500U, 350U, 260U}) {
    const SlotGroups groups = clusters_within(head.input, {4, 16}, budget);
    EXPECT_LE(groups.size(), budget);
    EXPECT_GE(groups.size(), budget * 95 / 100) << "a finer threshold would have kept more";
  }
}

// Sentences of three words and a delimiter, each with a direction of its own, save that the last word and
// `twin` (of the sentence) share one.
void make_sentences(std::uint32_t twin, SampleHead& head) {
  const std::uint32_t dim = head.input.head_dim;
  std::fill(head.keys.begin(), head.keys.end(), 0.0F);
  for (std::uint32_t i = 0; i < head.input.slots; ++i) {
    head.delimiters[i] = i % 4 == 3 ? 1 : 0;
    head.keys[std::size_t{i} * dim + (i % 4 == twin ? 2 : i % 4)] = 1;
  }
}

TEST(SemanticClusters, DelimitersStayAloneUnlessJoiningSparesUnlikeWords) {
  SampleHead joins(40), stays(40);  // 10 sentences of 3 directions
  make_sentences(3, joins);
  make_sentences(1, stays);
  const SlotGroups joined = clusters_within(joins.input, {}, 30),
                   alone = clusters_within(stays.input, {}, 30);
  ASSERT_EQ(joined.size(), 30U);
  ASSERT_EQ(alone.size(), 30U);
  for (std::uint32_t g = 0; g < 30; ++g) {
    const std::uint32_t first = joined.group(g).front() % 4;
    EXPECT_EQ(joined.group(g).size(), first == 2 ? 2U : 1U) << "a delimiter is like the word before it";
    EXPECT_EQ(alone.group(g).size(), alone.group(g).front() % 4 == 1 ? 2U : 1U) << "words are alike";
  }
}

TEST(SemanticClusters, BelowTheFloorDelimitersThenChunksMerge) {
  const SampleHead head(1000, 3);
  std::uint32_t delimiters = 0;
  for (const std::uint8_t d : head.delimiters) delimiters += d;
  const std::uint32_t floor = clusters_at(head.input, {}, -2).size();
  ASSERT_GT(floor, delimiters);
  const SlotGroups joined = clusters_within(head.input, {}, delimiters + 5);
  EXPECT_LE(joined.size(), delimiters + 5);
  const SlotGroups few = clusters_within(head.input, {}, 9);
  EXPECT_LE(few.size(), 9U);
  EXPECT_EQ(few.members.size(), 1000U) << "merging drops nothing";
}

}  // namespace
}  // namespace leadline::tests
