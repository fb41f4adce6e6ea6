// The arena against a plain model of it, and its words when it is full.

#include "worker/backend/cuda/arena.h"

#include <gtest/gtest.h>

#include <random>

#include "worker/backend/cuda/emulator/emulated_runtime.h"

namespace leadline::worker::cuda {
namespace {

TEST(Arena, PiecesNeverOverlapAndAllComesBack) {
  EmulatedRuntime runtime({.total_bytes = 1 << 20});
  auto arena = Arena::open(runtime, 0.5);
  ASSERT_TRUE(arena.has_value());
  EXPECT_EQ((*arena)->total_bytes(), 1 << 19);
  std::mt19937 random(3);
  std::map<std::byte*, std::int64_t> held;
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    if (random() % 3 != 0) {
      const auto bytes = static_cast<std::int64_t>(random() % 40000);
      auto taken = (*arena)->take(bytes, "test");
      if (!taken) {
        ++refused;
        continue;
      }
      auto* at = static_cast<std::byte*>(*taken);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 256, 0U);
      const auto next = held.lower_bound(at);
      if (next != held.end()) EXPECT_LE(at + bytes, next->first);
      if (next != held.begin()) EXPECT_GE(at, std::prev(next)->first + std::prev(next)->second);
      held[at] = bytes;
    } else if (!held.empty()) {
      auto at = std::next(held.begin(), static_cast<std::ptrdiff_t>(random() % held.size()));
      (*arena)->give(at->first);
      held.erase(at);
    }
  }
  EXPECT_GT(refused, 10);
  for (auto& [at, bytes] : held) (*arena)->give(at);
  EXPECT_EQ((*arena)->largest_bytes(), 1 << 19) << "neighbours join again";
}

TEST(Arena, SaysWhereMemoryWent) {
  EmulatedRuntime runtime({.total_bytes = 8 << 20});
  auto arena = Arena::open(runtime, 1.0);
  ASSERT_TRUE(arena.has_value());
  ASSERT_TRUE((*arena)->take(3 << 20, "weights").has_value());
  ASSERT_TRUE((*arena)->take(1 << 20, "KV pool").has_value());
  const auto refused = (*arena)->take(5 << 20, "activations");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::out_of_memory);
  for (const char* word :
       {"5242880 bytes for activations", "weights 3.0 MiB, KV pool 1.0 MiB, free 4.0 MiB of 8.0 MiB"})
    EXPECT_NE(refused.error().message.find(word), std::string::npos) << refused.error().message;
}

TEST(Arena, RefusesAnOddUtilizationAndAFullDevice) {
  EmulatedRuntime runtime({.total_bytes = 1 << 20});
  EXPECT_EQ(Arena::open(runtime, 0).error().code, Errc::configuration);
  EXPECT_EQ(Arena::open(runtime, 1.5).error().code, Errc::configuration);
  EmulatedRuntime full({.total_bytes = 0});
  const auto refused = Arena::open(full, 0.9);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::out_of_memory);
  EXPECT_NE(refused.error().message.find("0.0 MiB free"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace leadline::worker::cuda
