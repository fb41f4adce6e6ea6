#include "worker/scheduler/step_plan.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

namespace leadline::worker {
namespace {

StepPlan example() {
  StepPlan plan;
  plan.step = 0x0102030405060708ULL;
  plan.quantise = {PageId{14}, PageId{12}};
  plan.swap_out = {{PageId{1}, HostPageId{2}}};
  plan.swap_in = {{PageId{3}, HostPageId{4}}, {PageId{5}, HostPageId{6}}};
  plan.copies = {{PageId{7}, PageId{8}}};
  kvstore::BlockKey key, parent;
  key.bytes.fill(3);
  parent.bytes.fill(4);
  plan.blocks.seals = {{PageId{9}, 2, 1'900'000'000, key, parent}};
  plan.blocks.starts = {{5, 1, 20'000, parent, {key, parent}}};
  plan.blocks.restores = {{5, 1, PageId{11}}};
  plan.blocks.polls = {5};
  plan.blocks.drops = {4, 3};
  plan.blocks.page_us = 16'000;
  plan.blocks.page_growth_ns = 77;
  plan.sequences.push_back({.sequence = SequenceId{9},
                            .tokens = {1, -2, 3},
                            .first_position = 20,
                            .kv_before = 14,
                            .table = {PageId{10}, PageId{11}},
                            .logits = LogitsWanted::all});
  plan.sequences.push_back(
      {.sequence = SequenceId{12}, .tokens = {5}, .table = {PageId{0}}, .logits = LogitsWanted::none});
  plan.sequences.push_back({.sequence = SequenceId{13},
                            .tokens = {6},
                            .first_position = 9,
                            .kv_before = 9,
                            .table = {PageId{2}},
                            .round = {.exit = 4, .max_draft = 6, .climb = true, .shadows = true}});
  plan.sequences[1].taps = kTapWindow;
  plan.sequences[1].tap_from = 3;
  plan.sequences[1].tap_end = 35;
  plan.forget = {SequenceId{77}};
  CompressStep compress{.sequence = SequenceId{9},
                        .from = {PageId{20}, PageId{21}},
                        .to = {PageId{22}},
                        .tokens = 3,
                        .seed = 0x99,
                        .delimiters = {0, 1, 0}};
  compress.params.method = 7;
  compress.params.ratio = 0.25F;
  compress.params.by_threshold = true;
  compress.params.threshold = 0.5F;
  compress.params.pins.prefix = 6;
  plan.compress.push_back(compress);
  return plan;
}

TEST(StepPlan, RoundTrips) {
  for (const StepPlan& plan : {example(), StepPlan{}}) {
    const auto back = step_plan_from_bytes(to_bytes(plan));
    ASSERT_TRUE(back.has_value()) << back.error().message;
    EXPECT_EQ(*back, plan);
  }
}

// A plan that is empty is never sent; what it says would be lost.
TEST(StepPlan, WhateverAPlanSaysItIsNotEmpty) {
  EXPECT_TRUE(StepPlan{}.empty());
  const StepPlan all = example();
  for (const auto list : {&StepPlan::swap_out, &StepPlan::swap_in}) {
    StepPlan one;
    one.*list = all.*list;
    EXPECT_FALSE(one.empty());
  }
  EXPECT_FALSE(StepPlan{.quantise = all.quantise}.empty());
  EXPECT_FALSE(StepPlan{.copies = all.copies}.empty());
  EXPECT_FALSE(StepPlan{.blocks = all.blocks}.empty());
  EXPECT_FALSE(StepPlan{.forget = all.forget}.empty());
  EXPECT_FALSE(StepPlan{.compress = all.compress}.empty());
  EXPECT_FALSE(StepPlan{.sequences = all.sequences}.empty());
}

TEST(StepPlan, EveryPrefixIsRefused) {
  const std::vector<std::byte> bytes = to_bytes(example());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto got = step_plan_from_bytes(std::span(bytes).first(n));
    ASSERT_FALSE(got.has_value()) << n;
    EXPECT_EQ(got.error().code, Errc::malformed_file);
  }
}

TEST(StepPlan, RefusalsNameTheField) {
  const auto refusal = [](const StepPlan& plan) {
    const auto got = step_plan_from_bytes(to_bytes(plan));
    return got.has_value() ? std::string("accepted") : got.error().message;
  };
  StepPlan plan = example();
  plan.sequences[0].tokens.clear();
  EXPECT_EQ(refusal(plan), "step plan: tokens is empty, sequence 9");
  plan = example();
  plan.sequences[0].kv_before = 30;
  EXPECT_EQ(refusal(plan), "step plan: table is too short for slots: 33");
  plan = example();
  plan.sequences[0].first_position = UINT32_MAX - 1;
  EXPECT_EQ(refusal(plan), "step plan: first_position is 4294967294");
  plan = example();
  plan.sequences[1].logits = static_cast<LogitsWanted>(3);
  EXPECT_EQ(refusal(plan), "step plan: logits is 3");
  plan = example();
  plan.sequences[2].round.max_draft = 7;
  EXPECT_EQ(refusal(plan), "step plan: table is too short for slots: 17");
  plan.sequences[2].round.max_draft = 65;
  EXPECT_EQ(refusal(plan), "step plan: round.max_draft is 65");
  plan = example();
  plan.sequences[2].round.exit = 0;
  EXPECT_EQ(refusal(plan), "step plan: round.exit is 0");
  plan = example();
  plan.sequences[0].round = {.exit = 4, .max_draft = 1};
  EXPECT_EQ(refusal(plan), "step plan: round is of rows: 3");
  plan.compress[0].tokens = 33;
  EXPECT_EQ(refusal(plan), "step plan: from does not hold as many tokens: 33");
  plan = example();
  plan.compress[0].delimiters.pop_back();
  EXPECT_EQ(refusal(plan), "step plan: delimiters are not as many as tokens: 2");
}

// The fuzzer's seeds, by name: as this build's writer writes them, for a reader refuses another version's
// before it looks any further.
std::vector<std::pair<std::string, StepPlan>> seeds() {
  const StepPlan whole = example();
  std::vector<std::pair<std::string, StepPlan>> plans = {{"empty", {}}, {"mixed", whole}};
  const auto part = [&](const char* name, const auto& fill) {
    plans.emplace_back(name, StepPlan{.step = 7});
    fill(plans.back().second);
  };
  part("moves", [&](StepPlan& plan) {
    plan.quantise = whole.quantise;
    plan.swap_out = whole.swap_out;
    plan.swap_in = whole.swap_in;
    plan.copies = whole.copies;
  });
  part("rounds", [&](StepPlan& plan) { plan.sequences = {whole.sequences[2], whole.sequences[1]}; });
  part("blocks", [&](StepPlan& plan) { plan.blocks = whole.blocks; });
  part("compression", [&](StepPlan& plan) {
    plan.compress = whole.compress;
    plan.forget = whole.forget;
  });
  return plans;
}

// After a change of the format: LEADLINE_WRITE_GOLDEN=1 build/release/tests/scheduler_test
TEST(StepPlan, TheFuzzersSeedsAreOfThisFormat) {
  for (const auto& [name, plan] : seeds()) {
    const std::string path = std::string(LEADLINE_SOURCE_DIR) + "/tests/fuzz/corpus/step_plan/" + name;
    const std::vector<std::byte> bytes = to_bytes(plan);
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (std::getenv("LEADLINE_WRITE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << text;
    std::ifstream in(path, std::ios::binary);
    const std::string seed{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    EXPECT_TRUE(seed == text) << path << " is not what to_bytes writes";
    const auto read = step_plan_from_bytes(std::as_bytes(std::span(seed)));
    ASSERT_TRUE(read.has_value()) << path << ": " << read.error().message;
    EXPECT_EQ(*read, plan);
  }
}

TEST(StepPlan, CountsThatLieAllocateNothing) {
  std::vector<std::byte> bytes = to_bytes(StepPlan{});
  const std::size_t swap_out_count = 16, sequences_count = 36;
  bytes[swap_out_count + 2] = std::byte{0x0F};  // 983,040 swaps in no bytes
  EXPECT_EQ(step_plan_from_bytes(bytes).error().message,
            "step plan: swap_out is longer than the bytes left, entries: 983040");
  bytes[swap_out_count + 2] = std::byte{0xFF};
  EXPECT_EQ(step_plan_from_bytes(bytes).error().message,
            "step plan: swap_out has too many entries: 16711680");
  bytes = to_bytes(StepPlan{});
  bytes[sequences_count + 1] = std::byte{0x10};
  EXPECT_EQ(step_plan_from_bytes(bytes).error().message, "step plan: table is cut short 1");
  bytes = to_bytes(example());
  bytes.push_back(std::byte{0});
  EXPECT_EQ(step_plan_from_bytes(bytes).error().message, "step plan: end has bytes left over: 1");
  bytes[0] = std::byte{0};
  EXPECT_FALSE(step_plan_from_bytes(bytes).has_value());
}

}  // namespace
}  // namespace leadline::worker
