#include "worker/backend/cpu/cpu_dispatch.h"

#include <gtest/gtest.h>

namespace leadline::worker::cpu {
namespace {

TEST(CpuDispatch, ScalarIsLastAndAlwaysThere) {
  const auto candidates = kernel_candidates();
  ASSERT_FALSE(candidates.empty());
  EXPECT_EQ(candidates.back().name, "scalar");
  EXPECT_TRUE(candidates.back().runs_here());
  EXPECT_EQ(*select_kernels("scalar"), &kScalarKernels);
}

TEST(CpuDispatch, NoNameGivesTheFirstThatRuns) {
  const CpuKernels* best = nullptr;
  for (const KernelCandidate& c : kernel_candidates())
    if (!best && c.kernels && c.runs_here()) best = c.kernels;
  ASSERT_NE(best, nullptr);
  EXPECT_EQ(*select_kernels(""), best);
}

TEST(CpuDispatch, ANameThisMachineLacksSaysWhatItNeeds) {
  for (const KernelCandidate& c : kernel_candidates()) {
    const auto selected = select_kernels(c.name);
    if (c.kernels && c.runs_here()) {
      EXPECT_EQ(*selected, c.kernels);
      EXPECT_EQ(c.name, (*selected)->name);
    } else {
      ASSERT_FALSE(selected.has_value());
      EXPECT_NE(selected.error().message.find(c.needs), std::string::npos);
    }
  }
}

TEST(CpuDispatch, AnUnknownNameListsTheKnownOnes) {
  const auto selected = select_kernels("neon");
  ASSERT_FALSE(selected.has_value());
  EXPECT_EQ(selected.error().code, Errc::configuration);
  EXPECT_NE(selected.error().message.find("amxbf16, amx, avx512vnni, avx512bf16, avx512, avx2, scalar"),
            std::string::npos);
}

TEST(CpuDispatch, EveryTableIsWhole) {
  for (const KernelCandidate& c : kernel_candidates()) {
    if (!c.kernels) continue;
    const CpuKernels& k = *c.kernels;
    EXPECT_TRUE(k.pack_group && k.linear && k.rms_norm && k.silu_mul && k.add_partials && k.rotate &&
                k.widen && k.narrow && k.attention && k.attention_merge && k.attention_finish)
        << c.name;
    EXPECT_GE(k.group_rows, k.direct_rows);
    EXPECT_EQ(k.split_group != nullptr, k.split_rows > 0) << c.name;
  }
}

}  // namespace
}  // namespace leadline::worker::cpu
