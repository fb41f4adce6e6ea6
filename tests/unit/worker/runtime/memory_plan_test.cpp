#include "worker/runtime/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

using ::testing::HasSubstr;

MemoryRequest small() {
  MemoryRequest r;
  r.page_bytes = 1 << 20;
  r.available_bytes = std::int64_t{1} << 30;
  r.max_sequences = 4;
  r.max_model_len = 160;  // 10 pages and one to spare
  return r;
}

TEST(MemoryPlan, AutomaticIsWhatTheSequencesCanFill) {
  const auto plan = plan_memory(small());
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->pages, 44U);
  EXPECT_EQ(plan->host_pages, 44U);
}

TEST(MemoryPlan, AutomaticTakesAtMostAQuarterOfTheShare) {
  MemoryRequest r = small();
  r.max_sequences = 1000;
  EXPECT_EQ(plan_memory(r)->pages, 256U);
  r.ranks_on_host = 2;
  EXPECT_EQ(plan_memory(r)->pages, 128U);
}

TEST(MemoryPlan, AnExplicitPoolIsTakenAsItIs) {
  MemoryRequest r = small();
  r.kv_pool_bytes = 12 << 20;
  r.swap_bytes = 0;
  const auto plan = plan_memory(r);
  EXPECT_EQ(plan->pages, 12U);
  EXPECT_EQ(plan->host_pages, 0U);
}

TEST(MemoryPlan, SaysWithNumbersWhatDoesNotFit) {
  MemoryRequest r = small();
  r.kv_pool_bytes = 3 << 20;
  EXPECT_THAT(plan_memory(r).error().message, HasSubstr("needs 11 MiB"));
  r.kv_pool_bytes = std::int64_t{2} << 30;
  EXPECT_THAT(plan_memory(r).error().message, HasSubstr("--kv-pool 2048 MiB"));
  r.kv_pool_bytes = 0;
  r.available_bytes = 5 << 20;
  EXPECT_EQ(plan_memory(r).error().code, Errc::out_of_memory);
}

}  // namespace
}  // namespace leadline::worker
