#pragma once
// FakeKvMemory: device pages and host slots whose "KV" of a slot is a digest of all tokens up to it, so that
// a step can check that every slot it reads is what it must be. Executes plans in the order that StepPlan
// states. Not a backend. Thread: the test's.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/kvcache/sequence_cache.h"

namespace leadline::testing {

class FakeKvMemory {
 public:
  FakeKvMemory(std::uint32_t pages, std::uint32_t host_slots) : device_(pages), host_(host_slots) {}

  void apply(const worker::PlanMoves& moves) {
    for (const worker::PageSwap& s : moves.swap_out) host_.at(s.host.value) = device_.at(s.page.value);
    for (const worker::PageSwap& s : moves.swap_in) device_.at(s.page.value) = host_.at(s.host.value);
    for (const worker::PageCopy& c : moves.copies) device_.at(c.to.value) = device_.at(c.from.value);
  }

  // Runs tokens[before, before + n): checks the slots before, writes the new ones.
  void run(std::span<const std::uint32_t> table, std::span<const std::int32_t> tokens, std::size_t before,
           std::size_t n) {
    std::uint64_t digest = 1;
    for (std::size_t i = 0; i < before + n; ++i) {
      digest = (digest ^ static_cast<std::uint32_t>(tokens[i])) * 0x9E3779B97F4A7C15ULL + 1;
      ASSERT_LT(i / worker::kPageTokens, table.size());
      std::uint64_t& slot = device_.at(table[i / worker::kPageTokens])[i % worker::kPageTokens];
      if (i < before) {
        ASSERT_EQ(slot, digest) << "slot " << i << " holds other KV";
      } else {
        slot = digest;
      }
    }
  }

 private:
  using Page = std::array<std::uint64_t, worker::kPageTokens>;
  std::vector<Page> device_, host_;
};

}  // namespace leadline::testing
