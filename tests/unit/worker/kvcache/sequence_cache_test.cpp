#include "worker/kvcache/sequence_cache.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/fake_kv_memory.h"

namespace leadline::worker {
namespace {

const kvstore::TenantSalt kSalt{};
constexpr SequenceId kA{1}, kB{2}, kC{3};

std::vector<std::int32_t> tokens(std::size_t n, std::int32_t first = 100) {
  std::vector<std::int32_t> v(n);
  std::iota(v.begin(), v.end(), first);
  return v;
}

class SequenceCacheTest : public ::testing::Test {
 protected:
  // Reserves, executes the plan so far, runs and commits the next n of `known`.
  bool step(SequenceId id, const std::vector<std::int32_t>& known, std::uint32_t n) {
    const std::uint32_t before = cache_.computed(id);
    if (!cache_.reserve(id, n)) return false;
    memory_.apply(cache_.take_moves());
    memory_.run(cache_.table(id), known, before, n);
    cache_.commit(id, std::span(known).subspan(before, n));
    return true;
  }
  void start(SequenceId id, const std::vector<std::int32_t>& known) {
    const PrefixHit hit = cache_.admit(id, known, kSalt);
    ASSERT_TRUE(step(id, known, static_cast<std::uint32_t>(known.size()) - hit.tokens));
  }
  SequenceCache cache_{{.pages = 8, .host_pages = 6, .model_fingerprint = "m"}};
  testing::FakeKvMemory memory_{8, 6};
};

TEST_F(SequenceCacheTest, AHitEndsBeforeTheLastToken) {
  start(kA, tokens(48));
  struct Case {
    std::size_t known;
    std::uint32_t hit;
  };
  for (const Case c :
       {Case{1, 0}, {16, 0}, {17, 16}, {32, 16}, {33, 32}, {47, 32}, {48, 32}, {49, 48}, {60, 48}}) {
    cache_.add(kB, tokens(c.known), kSalt);
    EXPECT_EQ(cache_.peek(kB).tokens, c.hit) << c.known;
    EXPECT_EQ(cache_.peek(kB).held_pages, c.hit / 16) << c.known;
    EXPECT_EQ(cache_.admit(kB).tokens, c.hit) << c.known;
    EXPECT_EQ(cache_.computed(kB), c.hit);
    cache_.release(kB);
  }
}

// A lossy codec: whole groups only, each quantised once, when it is whole (exactness X5).
class GroupedCacheTest : public ::testing::Test {
 protected:
  // Commits up to `to`; the pages that the plans quantise.
  std::vector<PageId> run_to(SequenceId id, const std::vector<std::int32_t>& known, std::uint32_t to) {
    std::vector<PageId> quantised;
    while (cache_.computed(id) < to) {
      const std::uint32_t before = cache_.computed(id);
      const std::uint32_t n = std::min(to - before, cache_.rows_to_group_end(id));
      EXPECT_TRUE(cache_.reserve(id, n));
      for (PageId page : cache_.take_moves().quantise) quantised.push_back(page);
      cache_.commit(id, std::span(known).subspan(before, n));
    }
    for (PageId page : cache_.take_moves().quantise) quantised.push_back(page);
    return quantised;
  }
  SequenceCache cache_{{.pages = 16,
                        .host_pages = 8,
                        .model_fingerprint = "m",
                        .lossy_codec = "int4/1@32",
                        .group_tokens = 32}};
};

TEST_F(GroupedCacheTest, PagesAreQuantisedAndSharedInWholeGroups) {
  cache_.admit(kA, tokens(100), kSalt);
  EXPECT_EQ(cache_.rows_to_group_end(kA), 32U);
  EXPECT_TRUE(run_to(kA, tokens(100), 31).empty());
  EXPECT_EQ(cache_.rows_to_group_end(kA), 1U);
  const std::vector<PageId> first = run_to(kA, tokens(100), 32);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[0].value, cache_.table(kA)[0]);
  EXPECT_EQ(first[1].value, cache_.table(kA)[1]);
  EXPECT_EQ(run_to(kA, tokens(100), 100).size(), 4U);
  EXPECT_EQ(cache_.usage().indexed_pages, 6U);
  struct Case {
    std::size_t known;
    std::uint32_t hit;
  };
  for (const Case c : {Case{32, 0}, {33, 32}, {64, 32}, {65, 64}, {96, 64}, {97, 96}, {128, 96}}) {
    cache_.add(kB, tokens(c.known), kSalt);
    EXPECT_EQ(cache_.admit(kB).tokens, c.hit) << c.known;
    cache_.release(kB);
  }
}

TEST_F(GroupedCacheTest, TheSecondToFinishAGroupTakesTheFirstsPages) {
  cache_.admit(kA, tokens(40), kSalt);
  cache_.admit(kB, tokens(40), kSalt);
  EXPECT_EQ(run_to(kA, tokens(40), 33).size(), 2U);
  EXPECT_TRUE(run_to(kB, tokens(40), 33).empty()) << "they are quantised already";
  EXPECT_EQ(cache_.table(kA)[1], cache_.table(kB)[1]);
}

TEST_F(GroupedCacheTest, ASwappedSequenceDoesNotTakeQuantisedPagesForItsRawOnes) {
  cache_.admit(kA, tokens(60), kSalt);
  run_to(kA, tokens(60), 48);  // the second group is half done, and raw
  ASSERT_TRUE(cache_.swap_out(kA));
  (void)cache_.take_moves();
  cache_.admit(kB, tokens(80), kSalt);
  run_to(kB, tokens(80), 70);  // the same tokens, sealed
  ASSERT_TRUE(cache_.swap_in(kA));
  EXPECT_EQ(cache_.take_moves().swap_in.size(), 1U) << "the raw page comes from the host";
  EXPECT_EQ(cache_.table(kA)[1], cache_.table(kB)[1]);
  EXPECT_NE(cache_.table(kA)[2], cache_.table(kB)[2]);
}

TEST_F(GroupedCacheTest, WithoutReuseGroupsAreQuantisedAllTheSame) {
  SequenceCache cache{{.pages = 8, .prefix_reuse = false, .lossy_codec = "int8/1@32", .group_tokens = 32}};
  cache.admit(kA, tokens(40), kSalt);
  ASSERT_TRUE(cache.reserve(kA, 32));
  (void)cache.take_moves();
  const std::vector<std::int32_t> known = tokens(32);
  cache.commit(kA, known);
  EXPECT_TRUE(cache.has_seals());
  EXPECT_EQ(cache.take_moves().quantise.size(), 2U);
}

TEST_F(SequenceCacheTest, TenantsDoNotShare) {
  start(kA, tokens(33));
  kvstore::TenantSalt other{};
  other[0] = 1;
  EXPECT_EQ(cache_.admit(kB, tokens(33), other).tokens, 0U);
  EXPECT_EQ(cache_.admit(kC, tokens(33), kSalt).tokens, 32U);
}

TEST_F(SequenceCacheTest, PagesStayReusableUntilTheirRoomIsNeeded) {
  start(kA, tokens(40));
  cache_.release(kA);
  EXPECT_EQ(cache_.usage().reusable, 2U);
  EXPECT_EQ(cache_.usage().free, 6U);
  start(kB, tokens(7 * 16, 1000));  // needs 7: one page of A's goes, its last
  EXPECT_EQ(cache_.usage().evictions, 1U);
  EXPECT_EQ(cache_.admit(kC, tokens(40), kSalt).tokens, 16U);
}

TEST_F(SequenceCacheTest, ReserveRefusesWholly) {
  start(kA, tokens(100));  // 7 pages
  (void)cache_.admit(kB, tokens(40, 1000), kSalt);
  EXPECT_FALSE(cache_.reserve(kB, 17));
  EXPECT_EQ(cache_.device_pages(kB), 0U);
  EXPECT_TRUE(cache_.reserve(kB, 16));
  EXPECT_FALSE(cache_.reserve(kA, 13));
  EXPECT_TRUE(cache_.reserve(kA, 12));
}

TEST_F(SequenceCacheTest, RejectedDraftsAreGivenBack) {
  std::vector<std::int32_t> known = tokens(30);
  start(kA, known);
  ASSERT_TRUE(cache_.reserve(kA, 5));  // slots 30..34: a third page
  EXPECT_EQ(cache_.device_pages(kA), 3U);
  known.push_back(7);
  memory_.run(cache_.table(kA), known, 30, 1);
  cache_.commit(kA, std::span(known).subspan(30, 1));
  EXPECT_EQ(cache_.computed(kA), 31U);
  EXPECT_EQ(cache_.device_pages(kA), 2U);
  EXPECT_EQ(cache_.usage().indexed_pages, 1U);
  known.push_back(8);
  ASSERT_TRUE(step(kA, known, 1));
  EXPECT_EQ(cache_.usage().indexed_pages, 2U);  // the generated tokens' page is found by a next turn
  known.push_back(9);
  EXPECT_EQ(cache_.admit(kB, known, kSalt).tokens, 32U);
}

TEST_F(SequenceCacheTest, TwoThatComputeOnePrefixEndUpSharingIt) {
  (void)cache_.admit(kA, tokens(40), kSalt);
  (void)cache_.admit(kB, tokens(40), kSalt);
  ASSERT_TRUE(step(kA, tokens(40), 40));
  ASSERT_TRUE(step(kB, tokens(40), 40));
  EXPECT_EQ(cache_.usage().used, 4U);  // two shared, two private tails
  EXPECT_EQ(cache_.sole_pages(kA), 1U);
  cache_.release(kA);
  const std::vector<std::int32_t> more = tokens(45);
  ASSERT_TRUE(step(kB, more, 5));
}

TEST_F(SequenceCacheTest, WhatAnAdmittedOneWillComputeIsSaidToThoseWhoWait) {
  const auto known = tokens(50);
  (void)cache_.admit(kA, known, kSalt);
  cache_.add(kB, known, kSalt);
  EXPECT_EQ(cache_.peek(kB).soon_tokens, 48U);
  ASSERT_TRUE(step(kA, known, 20));
  EXPECT_EQ(cache_.peek(kB).tokens, 16U);
  EXPECT_EQ(cache_.peek(kB).soon_tokens, 32U) << "the page that is half computed, too";
  memory_.apply(cache_.take_moves());
  ASSERT_TRUE(cache_.swap_out(kA));
  EXPECT_EQ(cache_.peek(kB).soon_tokens, 0U) << "nobody computes them now";
  memory_.apply(cache_.take_moves());
  ASSERT_TRUE(cache_.swap_in(kA));
  EXPECT_EQ(cache_.peek(kB).soon_tokens, 32U);
  cache_.release(kA);
  EXPECT_EQ(cache_.peek(kB).soon_tokens, 0U);
}

TEST_F(SequenceCacheTest, OneOfTwoThatComputeTheSameMayLeave) {
  const auto known = tokens(40);
  (void)cache_.admit(kA, known, kSalt);
  (void)cache_.admit(kB, known, kSalt);
  cache_.add(kC, known, kSalt);
  EXPECT_EQ(cache_.peek(kC).soon_tokens, 32U);
  cache_.release(kA);
  EXPECT_EQ(cache_.peek(kC).soon_tokens, 32U);
  ASSERT_TRUE(step(kB, known, 40));
  EXPECT_EQ(cache_.peek(kC).soon_tokens, 0U);
  EXPECT_EQ(cache_.peek(kC).tokens, 32U);
}

TEST_F(SequenceCacheTest, SwappedOutAndInTheSameBytesAreThere) {
  const std::vector<std::int32_t> known = tokens(60);
  start(kA, tokens(50));
  ASSERT_TRUE(cache_.swap_out(kA));
  memory_.apply(cache_.take_moves());
  EXPECT_TRUE(cache_.swapped(kA));
  EXPECT_EQ(cache_.host_pages(kA), 4U);
  EXPECT_EQ(cache_.usage().used, 0U);
  start(kB, tokens(8 * 16, 1000));  // overwrites every page
  cache_.release(kB);
  ASSERT_TRUE(cache_.swap_in(kA));
  ASSERT_TRUE(step(kA, known, 10));
  EXPECT_EQ(cache_.usage().host_free, 6U);
  EXPECT_EQ(cache_.admit(kC, known, kSalt).tokens, 48U);  // and its pages are found again
}

TEST_F(SequenceCacheTest, SwapInTakesWhatIsStillThereWithoutACopy) {
  start(kA, tokens(50));
  ASSERT_TRUE(cache_.swap_out(kA));
  memory_.apply(cache_.take_moves());
  ASSERT_TRUE(cache_.swap_in(kA));
  const PlanMoves moves = cache_.take_moves();
  EXPECT_EQ(moves.swap_in.size(), 1U);  // the partial page only
  memory_.apply(moves);
  ASSERT_TRUE(step(kA, tokens(51), 1));
}

TEST_F(SequenceCacheTest, SwapNeedsHostSlotsAndRefusesWholly) {
  start(kA, tokens(100));  // 7 pages, 6 slots
  EXPECT_FALSE(cache_.swap_out(kA));
  EXPECT_FALSE(cache_.swapped(kA));
  EXPECT_TRUE(cache_.take_moves().swap_out.empty());
  EXPECT_EQ(cache_.usage().host_free, 6U);
  ASSERT_TRUE(step(kA, tokens(101), 1));
}

TEST_F(SequenceCacheTest, HostSlotsBeingReadAreNotReusedInTheSamePlan) {
  start(kA, tokens(50));
  ASSERT_TRUE(cache_.swap_out(kA));
  memory_.apply(cache_.take_moves());
  start(kB, tokens(8 * 16, 1000));
  cache_.release(kB);
  start(kC, tokens(40, 3000));
  // One plan: C (3 pages) goes out, A (4 pages) comes in. A's slots are read after C's are written.
  EXPECT_FALSE(cache_.swap_out(kC));  // 2 slots free
  ASSERT_TRUE(cache_.swap_in(kA));
  EXPECT_FALSE(cache_.swap_out(kC));  // A's four are still being read
  memory_.apply(cache_.take_moves());
  EXPECT_TRUE(cache_.swap_out(kC));
  memory_.apply(cache_.take_moves());
  ASSERT_TRUE(step(kA, tokens(51), 1));
}

TEST_F(SequenceCacheTest, ForksShareUntilTheyWrite) {
  start(kA, tokens(20));
  cache_.fork(kA, kB);
  EXPECT_EQ(cache_.tail_copies(kB), 1U);
  std::vector<std::int32_t> a = tokens(21), b = tokens(21);
  a.back() = 1;
  b.back() = 2;
  // Both write in one plan; the copy's source stays although A goes on writing it.
  ASSERT_TRUE(cache_.reserve(kB, 1));
  ASSERT_TRUE(cache_.reserve(kA, 1));
  memory_.apply(cache_.take_moves());
  memory_.run(cache_.table(kA), a, 20, 1);
  memory_.run(cache_.table(kB), b, 20, 1);
  cache_.commit(kA, std::span(a).subspan(20));
  cache_.commit(kB, std::span(b).subspan(20));
  a.push_back(3);
  b.push_back(4);
  ASSERT_TRUE(step(kA, a, 1));
  ASSERT_TRUE(step(kB, b, 1));
}

TEST_F(SequenceCacheTest, ReleasedWhileThePlanStillMovesItsPages) {
  start(kA, tokens(20));
  cache_.fork(kA, kB);
  ASSERT_TRUE(cache_.reserve(kB, 1));  // copy 1 -> 2 is in the plan
  const std::uint32_t used = cache_.usage().used;
  cache_.release(kB);  // cancelled: page 2 must not be given away before the copy was made
  EXPECT_EQ(cache_.usage().used, used);
  memory_.apply(cache_.take_moves());
  EXPECT_EQ(cache_.usage().used, 2U);
}

TEST_F(SequenceCacheTest, WithoutReuseNothingIsIndexed) {
  SequenceCache cache({.pages = 4, .host_pages = 0, .prefix_reuse = false, .model_fingerprint = "m"});
  (void)cache.admit(kA, tokens(40), kSalt);
  ASSERT_TRUE(cache.reserve(kA, 40));
  cache.commit(kA, tokens(40));
  EXPECT_EQ(cache.admit(kB, tokens(40), kSalt).tokens, 0U);
  cache.release(kA);
  EXPECT_EQ(cache.usage().free, 4U);
}

TEST_F(SequenceCacheTest, ACompressedFrontLeavesTheTableAndItsPagesStayReusable) {
  SequenceCache cache({.pages = 8, .host_pages = 4, .prefix_reuse = true, .model_fingerprint = "m"});
  (void)cache.admit(kA, tokens(40), kSalt);
  ASSERT_TRUE(cache.reserve(kA, 40));
  (void)cache.take_moves();
  cache.commit(kA, tokens(40));
  CompressPages pages;
  EXPECT_FALSE(cache.begin_compress(kA, {.tokens = 40, .bound = 6, .own_tail = true}, pages));
  ASSERT_TRUE(cache.begin_compress(kA, {.tokens = 40, .bound = 2, .own_tail = true}, pages));
  EXPECT_EQ(pages.from.size(), 3U);
  EXPECT_EQ(pages.to.size(), 2U);
  EXPECT_EQ(cache.usage().used, 5U) << "what is read stays held until the plan is taken";
  ASSERT_TRUE(cache.reserve(kA, 1));
  EXPECT_EQ(cache.table(kA).size(), 1U);
  (void)cache.take_moves();
  cache.end_compress(kA, 1);
  cache.commit(kA, std::vector<std::int32_t>{77});
  EXPECT_EQ(cache.usage().used, 2U);
  EXPECT_EQ(cache.usage().reusable, 2U) << "the exact pages serve others with this prefix";
  EXPECT_EQ(cache.computed(kA), 41U);
  EXPECT_EQ(cache.compressed_tokens(kA), 40U);
  EXPECT_EQ(cache.sole_pages(kA), 2U);
  EXPECT_FALSE(cache.swap_out(kA));
  EXPECT_EQ(cache.admit(kB, tokens(40), kSalt).tokens, 32U);
  cache.release(kA);
  cache.release(kB);
  EXPECT_EQ(cache.usage().used, 0U);
}

TEST_F(SequenceCacheTest, SegmentsOfAChainAreCompressedInOrderAndItsPagesHaveTheChainsKeys) {
  SequenceCache cache({.pages = 32, .host_pages = 0, .prefix_reuse = true, .model_fingerprint = "m"});
  const CacheRules chain{.compression = "lossy"};
  cache.add(kA, tokens(100), kSalt, chain);
  (void)cache.admit(kA);
  ASSERT_TRUE(cache.reserve(kA, 100));
  (void)cache.take_moves();
  cache.commit(kA, tokens(100));
  CompressPages first, second;
  ASSERT_TRUE(cache.begin_compress(kA, {.tokens = 32, .bound = 3}, first));
  ASSERT_TRUE(cache.begin_compress(kA, {.tokens = 32, .bound = 3}, second));
  EXPECT_EQ(second.from.size(), 2U);
  (void)cache.take_moves();
  cache.end_compress(kA, 1);
  cache.end_compress(kA, 2);
  EXPECT_EQ(cache.compressed_pages(kA), 3U);
  EXPECT_EQ(cache.table(kA).size(), 3U);  // 36 slots
  std::vector<std::int32_t> more = tokens(130);
  ASSERT_TRUE(cache.reserve(kA, 30));
  (void)cache.take_moves();
  cache.commit(kA, std::span(more).subspan(100));
  cache.add(kB, tokens(130), kSalt, chain);
  EXPECT_EQ(cache.admit(kB).tokens, 128U) << "a chain's own raw pages are found again";
  cache.release(kB);
  cache.add(kB, tokens(130), kSalt);
  EXPECT_EQ(cache.admit(kB).tokens, 0U) << "and never taken for exact ones";
  cache.release(kB);
  cache.add(kB, tokens(130), kSalt, {.longest_hit = 50, .compression = "lossy"});
  EXPECT_EQ(cache.admit(kB).tokens, 48U);
}

TEST_F(SequenceCacheTest, AWrongTokenIsABug) {
  (void)cache_.admit(kA, tokens(10), kSalt);
  ASSERT_TRUE(cache_.reserve(kA, 10));
  EXPECT_DEATH(cache_.commit(kA, tokens(10, 5)), "another token");
}

}  // namespace
}  // namespace leadline::worker
