// Tables of cases for the pure decision; the property test runs it over whole lives of sequences.
#include "worker/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace leadline::worker {
namespace {

using Ids = std::vector<SequenceId>;

SchedulerLimits limits() {
  return {.max_sequences = 8,
          .max_step_tokens = 64,
          .min_chunk_tokens = 16,
          .aging_steps = 10,
          .total_pages = 100};
}

SequenceView waiting(std::uint64_t id, std::uint32_t prompt) {
  return {.id = SequenceId{id}, .arrival = id, .arrival_step = id, .known_tokens = prompt};
}

SequenceView running(std::uint64_t id, std::uint32_t known, std::uint32_t computed) {
  SequenceView v = waiting(id, known);
  v.state = SequenceState::running;
  v.computed_tokens = computed;
  v.device_pages = v.sole_pages = (computed + 15) / 16;
  return v;
}

SequenceView swapped(std::uint64_t id, std::uint32_t known) {
  SequenceView v = running(id, known, known - 1);
  v.state = SequenceState::swapped;
  v.host_pages = std::exchange(v.device_pages, 0);
  v.sole_pages = 0;
  return v;
}

std::uint32_t tokens_of(const Schedule& s, std::uint64_t id) {
  for (const ScheduledSequence& r : s.run)
    if (r.id.value == id) return r.tokens;
  return 0;
}

TEST(Scheduler, NothingToDo) {
  const Schedule s = schedule({}, {.available_pages = 10, .host_free = 0}, limits());
  EXPECT_TRUE(s.run.empty() && s.admit.empty());
}

TEST(Scheduler, AdmitsInOrderAndFillsTheBudget) {
  const std::vector<SequenceView> v = {waiting(2, 10), waiting(1, 100)};
  const Schedule s = schedule(v, {100, 0}, limits());
  EXPECT_EQ(s.admit, (Ids{SequenceId{1}, SequenceId{2}}));
  EXPECT_EQ(tokens_of(s, 2), 10U);
  EXPECT_EQ(tokens_of(s, 1), 54U);  // an even share, then what the short one left
}

TEST(Scheduler, DecodesAlwaysRunAndPrefillsShareTheRest) {
  const std::vector<SequenceView> v = {running(1, 500, 100), running(2, 20, 19), running(3, 400, 16),
                                       running(4, 33, 32)};
  const Schedule s = schedule(v, {100, 0}, limits());
  EXPECT_EQ(tokens_of(s, 2), 1U);
  EXPECT_EQ(tokens_of(s, 4), 1U);
  EXPECT_EQ(tokens_of(s, 1), 31U);
  EXPECT_EQ(tokens_of(s, 3), 31U);
}

TEST(Scheduler, ManyPrefillsGetChunksOfAtLeastTheMinimumInOrder) {
  std::vector<SequenceView> v;
  for (std::uint64_t id = 1; id <= 6; ++id) v.push_back(running(id, 200, 16));
  const Schedule s = schedule(v, {100, 0}, limits());
  for (std::uint64_t id = 1; id <= 6; ++id) EXPECT_EQ(tokens_of(s, id), id <= 4 ? 16U : 0U) << id;
}

TEST(Scheduler, APrefixHitLeavesTheRestToRun) {
  SequenceView v = waiting(1, 50);
  v.computed_tokens = 48;
  const Schedule s = schedule(std::span(&v, 1), {100, 0}, limits());
  EXPECT_EQ(tokens_of(s, 1), 2U);
}

TEST(Scheduler, WhatARunningOneIsAboutToComputeIsWaitedFor) {
  std::vector<SequenceView> v = {running(1, 60, 0), waiting(2, 60), waiting(3, 20)};
  v[1].soon_tokens = 48;
  Schedule s = schedule(v, {100, 0}, limits());
  EXPECT_EQ(s.admit, (Ids{SequenceId{3}})) << "others pass it";
  EXPECT_EQ(tokens_of(s, 2), 0U);
  v[1].soon_tokens = 15;  // less than a chunk is not worth a step
  s = schedule(v, {100, 0}, limits());
  EXPECT_EQ(s.admit, (Ids{SequenceId{2}, SequenceId{3}}));
}

TEST(Scheduler, HitPagesThatOthersHoldCostNothing) {
  SequenceView v = waiting(1, 160);  // 10 pages, 8 of them held
  v.computed_tokens = 128;
  EXPECT_TRUE(schedule(std::span(&v, 1), {2, 0}, limits()).admit.empty());
  v.device_pages = 8;
  EXPECT_EQ(schedule(std::span(&v, 1), {2, 0}, limits()).admit.size(), 1U);
}

TEST(Scheduler, AdmissionLeavesWhatRunningOnesStillNeed) {
  // The running prefill still takes 20 pages (320 tokens) and one page is kept to spare.
  const SequenceView r = running(1, 400, 80);
  for (const auto& [available, admitted] : {std::pair{25U, 0U}, {26U, 1U}}) {
    const std::vector<SequenceView> v = {r, waiting(2, 80)};
    EXPECT_EQ(schedule(v, {available, 0}, limits()).admit.size(), admitted) << available;
  }
}

TEST(Scheduler, NobodyPassesTheFirstThatDoesNotFit) {
  const std::vector<SequenceView> v = {waiting(1, 800), waiting(2, 10)};
  EXPECT_TRUE(schedule(v, {40, 0}, limits()).admit.empty());
  EXPECT_EQ(schedule(v, {52, 0}, limits()).admit.size(), 2U);
}

TEST(Scheduler, OnePageIsPromisedOnce) {
  const std::vector<SequenceView> v = {waiting(1, 96), waiting(2, 96)};
  EXPECT_EQ(schedule(v, {12, 0}, limits()).admit, (Ids{SequenceId{1}}));  // 6 + 6 and one to spare
  EXPECT_EQ(schedule(v, {13, 0}, limits()).admit.size(), 2U);
}

TEST(Scheduler, PagesThatOthersHoldTooAreNotWonByPreempting) {
  std::vector<SequenceView> v = {running(1, 33, 32), running(2, 33, 32), running(3, 40, 39)};
  v[2].sole_pages = 1;  // of its 3; two sequences need one page each
  EXPECT_EQ(schedule(v, {0, 10}, limits()).run.size(), 1U);
  v[2].sole_pages = 2;
  EXPECT_EQ(schedule(v, {0, 10}, limits()).run.size(), 2U);
}

TEST(Scheduler, ACopyOfTheLastPageIsCounted) {
  SequenceView v = running(1, 40, 39);
  v.tail_copies = 1;
  EXPECT_TRUE(schedule(std::span(&v, 1), {0, 0}, limits()).run.empty());
  EXPECT_EQ(schedule(std::span(&v, 1), {1, 0}, limits()).run.size(), 1U);
}

TEST(Scheduler, MaxSequences) {
  std::vector<SequenceView> v;
  for (std::uint64_t id = 1; id <= 9; ++id) v.push_back(running(id, 20, 19));
  v.resize(7);
  v.push_back(waiting(20, 5));
  v.push_back(waiting(21, 5));
  EXPECT_EQ(schedule(v, {100, 0}, limits()).admit, (Ids{SequenceId{20}}));
}

TEST(Scheduler, SwappedComeBackBeforeNewOnes) {
  const std::vector<SequenceView> v = {waiting(5, 10), swapped(3, 160)};
  Schedule s = schedule(v, {100, 0}, limits());
  EXPECT_EQ(s.swap_in, (Ids{SequenceId{3}}));
  EXPECT_EQ(s.admit, (Ids{SequenceId{5}}));
  EXPECT_EQ(tokens_of(s, 3), 1U);
  s = schedule(v, {9, 0}, limits());  // too few for the swapped one: the new one, which would fit, waits too
  EXPECT_TRUE(s.swap_in.empty() && s.admit.empty());
}

TEST(Scheduler, PriorityOrdersAndAges) {
  SequenceView low = waiting(1, 20), high = waiting(2, 20);
  high.priority = 1;
  SchedulerLimits l = limits();
  l.max_sequences = 1;
  const auto first = [&] {
    const std::vector<SequenceView> v = {low, high};
    return schedule(v, {100, 0}, l).admit.at(0).value;
  };
  low.arrival_step = 0;
  high.arrival_step = 9;
  EXPECT_EQ(first(), 2U);
  high.arrival_step = 11;  // the low one has waited longer than a level is worth
  EXPECT_EQ(first(), 1U);
}

TEST(Scheduler, ShortOfPagesTheLastInRankIsSwappedOut) {
  const std::vector<SequenceView> v = {running(1, 33, 32), running(2, 33, 32), running(3, 40, 39)};
  const Schedule s = schedule(v, {.available_pages = 0, .host_free = 10}, limits());
  EXPECT_EQ(s.swap_out, (Ids{SequenceId{3}}));
  EXPECT_TRUE(s.drop.empty());
  EXPECT_EQ(tokens_of(s, 1), 1U);
  EXPECT_EQ(tokens_of(s, 2), 1U);
  EXPECT_EQ(tokens_of(s, 3), 0U);
}

TEST(Scheduler, WithoutSwapRoomItIsDropped) {
  const std::vector<SequenceView> v = {running(1, 33, 32), running(3, 40, 39)};
  const Schedule s = schedule(v, {.available_pages = 0, .host_free = 2}, limits());
  EXPECT_EQ(s.drop, (Ids{SequenceId{3}}));
  EXPECT_TRUE(s.swap_out.empty());
}

TEST(Scheduler, TheLastInRankWaitsInsteadOfLeaving) {
  const std::vector<SequenceView> v = {running(1, 40, 39), running(2, 33, 32), waiting(3, 5)};
  const Schedule s = schedule(v, {.available_pages = 0, .host_free = 10}, limits());
  EXPECT_TRUE(s.swap_out.empty() && s.drop.empty() && s.admit.empty());
  EXPECT_EQ(s.run, (std::vector<ScheduledSequence>{{SequenceId{1}, 1}}));
}

TEST(Scheduler, NoNewSequenceTakesThePagesThatARunningOneWaitsFor) {
  // 2 needs 4 pages for its chunk and 3 are there; 3 would fit, but comes later.
  const std::vector<SequenceView> v = {running(2, 96, 32), waiting(3, 16)};
  const Schedule s = schedule(v, {.available_pages = 3, .host_free = 0}, limits());
  EXPECT_TRUE(s.run.empty() && s.admit.empty());
}

TEST(Scheduler, HigherPriorityPushesLowerOut) {
  SequenceView urgent = waiting(9, 32);
  std::vector<SequenceView> v = {running(1, 40, 39), running(2, 40, 39), urgent};
  SchedulerLimits l = limits();
  l.max_sequences = 2;
  EXPECT_TRUE(schedule(v, {50, 10}, l).admit.empty());
  v[2].priority = 2;
  const Schedule s = schedule(v, {50, 10}, l);
  EXPECT_EQ(s.swap_out, (Ids{SequenceId{2}}));
  EXPECT_EQ(s.admit, (Ids{SequenceId{9}}));
  EXPECT_EQ(tokens_of(s, 2), 0U);
  EXPECT_EQ(tokens_of(s, 9), 32U);
}

TEST(Scheduler, NobodyIsPushedOutInVain) {
  SequenceView urgent = waiting(9, 1600);
  urgent.priority = 5;
  const std::vector<SequenceView> v = {running(1, 40, 39), urgent};
  const Schedule s = schedule(v, {50, 10}, limits());
  EXPECT_TRUE(s.swap_out.empty() && s.admit.empty());
  EXPECT_EQ(tokens_of(s, 1), 1U);
}

TEST(Scheduler, WhatNeverFitsIsSaid) {
  const std::vector<SequenceView> v = {waiting(1, 1601), waiting(2, 1600)};
  const Schedule s = schedule(v, {100, 0}, limits());
  EXPECT_EQ(s.unfit, (Ids{SequenceId{1}}));
  EXPECT_EQ(s.admit, (Ids{SequenceId{2}}));
}

TEST(Scheduler, TheOrderOfTheViewsDoesNotMatter) {
  std::vector<SequenceView> v = {running(1, 300, 100), running(2, 33, 32), running(3, 40, 39),
                                 swapped(4, 60),       waiting(5, 90),     waiting(6, 10)};
  v[5].priority = 1;
  std::vector<std::size_t> order(v.size());
  std::iota(order.begin(), order.end(), 0U);
  const Schedule first = schedule(v, {12, 5}, limits());
  do {
    std::vector<SequenceView> w;
    for (const std::size_t i : order) w.push_back(v[i]);
    const Schedule s = schedule(w, {12, 5}, limits());
    ASSERT_EQ(s.run, first.run);
    ASSERT_EQ(s.admit, first.admit);
    ASSERT_EQ(s.swap_out, first.swap_out);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Scheduler, LimitsAreChecked) {
  EXPECT_EQ(check(limits()), "");
  SchedulerLimits l = limits();
  l.max_step_tokens = 7;
  EXPECT_NE(check(l).find("max_step_tokens 7"), std::string::npos);
  l = limits();
  l.total_pages = 0;
  EXPECT_NE(check(l), "");
}

}  // namespace
}  // namespace leadline::worker
