// Random blocks, chains and uses against simple models: LRU and S3-FIFO exactly, the laws for all.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "kvstore/eviction/policy.h"
#include "kvstore/eviction/s3_fifo.h"

namespace leadline::kvstore {
namespace {

int rounds(int base) {
  const char* factor = std::getenv("LEADLINE_PROPERTY_ROUNDS");
  return base * (factor ? std::max(1, std::atoi(factor)) : 1);
}

BlockKey key_of(std::uint32_t n) {
  BlockKey key;
  std::memcpy(key.bytes.data(), &n, sizeof n);
  key.bytes[31] = 1;
  return key;
}

// What is resident, by the definition of the words.
struct Model {
  struct Block {
    BlockFacts facts;
    double used = 0;
    std::uint64_t order = 0;
  };
  std::map<BlockKey, Block> blocks;

  [[nodiscard]] bool leaf(const BlockKey& key) const {
    for (const auto& [other, block] : blocks)
      if (block.facts.parent == key && other != key) return false;
    return true;
  }
  [[nodiscard]] std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [key, block] : blocks) sum += block.facts.bytes;
    return sum;
  }
  [[nodiscard]] BlockKey least_recent_leaf() const {
    const std::pair<const BlockKey, Block>* best = nullptr;
    for (const auto& entry : blocks) {
      if (!leaf(entry.first)) continue;
      if (best == nullptr ||
          std::pair(entry.second.used, entry.second.order) < std::pair(best->second.used, best->second.order))
        best = &entry;
    }
    return best->first;
  }
};

void run(const char* name, std::uint32_t seed) {
  std::mt19937 rng(seed);
  const std::uint64_t capacity = 200 + rng() % 800;
  auto policy = make_eviction(name, capacity);
  Model model;
  std::uint64_t order = 0;
  for (int step = 0; step < 400; ++step) {
    const double now = step / 2;  // equal times occur
    const BlockKey key = key_of(rng() % 60);
    switch (rng() % 8) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const BlockFacts facts{rng() % 64, 0.001 * (rng() % 100),
                               key_of(1 + key.bytes[0] / 2 + 64 * (rng() % 2)), 0};
        policy->insert(key, facts, now);
        const auto [it, fresh] = model.blocks.try_emplace(key);
        if (fresh) it->second.facts = facts, it->second.order = ++order;
        it->second.used = now;
        break;
      }
      case 4:
      case 5:
        policy->touch(key, now);
        if (model.blocks.contains(key)) model.blocks[key].used = now;
        break;
      case 6:
        policy->erase(key);
        model.blocks.erase(key);
        break;
      default:
        break;
    }
    while (policy->bytes() > capacity) {
      const auto victim = policy->evict(now);
      ASSERT_TRUE(victim.has_value());
      ASSERT_TRUE(model.blocks.contains(*victim)) << name << " seed " << seed;
      ASSERT_TRUE(model.leaf(*victim)) << name << " seed " << seed << " step " << step;
      if (std::string_view(name) == "lru") {
        ASSERT_EQ(*victim, model.least_recent_leaf()) << "seed " << seed;
      }
      model.blocks.erase(*victim);
      ASSERT_FALSE(policy->contains(*victim));
    }
    ASSERT_EQ(policy->bytes(), model.bytes());
    ASSERT_EQ(policy->entries(), model.blocks.size());
  }
  while (auto victim = policy->evict(1e9)) {
    ASSERT_TRUE(model.leaf(*victim));
    ASSERT_EQ(model.blocks.erase(*victim), 1U);
  }
  ASSERT_TRUE(model.blocks.empty());
}

TEST(EvictionProperty, LawsHoldForEveryPolicy) {
  for (const char* name : {"lru", "s3fifo", "s3fifo10", "gdsf"})
    for (int seed = 0; seed < rounds(60); ++seed) run(name, static_cast<std::uint32_t>(seed));
}

// Algorithm 1 of the S3-FIFO paper as it stands there, for objects of one byte without chains.
struct PlainS3Fifo {
  std::size_t capacity, small_target, ghost_limit;
  std::deque<BlockKey> small, main, ghost;  // oldest at the back
  std::map<BlockKey, int> freq;

  bool access(const BlockKey& key) {
    if (const auto it = freq.find(key); it != freq.end()) {
      it->second = std::min(it->second + 1, 3);
      return true;
    }
    while (small.size() + main.size() >= capacity) evict();
    const auto g = std::find(ghost.begin(), ghost.end(), key);
    if (g != ghost.end()) {
      ghost.erase(g);
      main.push_front(key);
    } else {
      small.push_front(key);
    }
    freq[key] = 0;
    return false;
  }
  void evict() {
    if ((small.size() >= small_target || main.empty()) && evict_small()) return;
    if (!evict_main()) evict_small();
  }
  bool evict_small() {
    while (!small.empty()) {
      const BlockKey key = small.back();
      small.pop_back();
      if (freq[key] >= 1) {
        freq[key] = 0;
        main.push_front(key);
        continue;
      }
      freq.erase(key);
      ghost.push_front(key);
      if (ghost.size() > ghost_limit) ghost.pop_back();
      return true;
    }
    return false;
  }
  bool evict_main() {
    while (!main.empty()) {
      const BlockKey key = main.back();
      main.pop_back();
      if (freq[key] == 0) {
        freq.erase(key);
        return true;
      }
      --freq[key];
      main.push_front(key);
    }
    return false;
  }
};

// Room is made before the insertion here, as the paper has it (a tier makes it after: the newest block takes
// part).
TEST(EvictionProperty, S3FifoIsThePapersOnFlatBlocks) {
  for (int seed = 0; seed < rounds(20); ++seed) {
    std::mt19937 rng(static_cast<std::uint32_t>(seed));
    const std::size_t capacity = 20 + rng() % 50;
    S3Fifo ours({.capacity_bytes = capacity * 64, .small_share = 0.1});
    PlainS3Fifo plain{capacity, 0, 0, {}, {}, {}, {}};
    plain.small_target = (capacity + 9) / 10;
    plain.ghost_limit = capacity * 9 / 10;
    std::size_t hits = 0, plain_hits = 0;
    for (int step = 0; step < 3000; ++step) {
      const double skew = std::pow(static_cast<double>(rng() % 1000 + 1) / 1000.0, 2.0);
      const BlockKey key = key_of(static_cast<std::uint32_t>(skew * 200));
      plain_hits += plain.access(key);
      if (ours.contains(key)) {
        ++hits;
        ours.touch(key, step);
      } else {
        while (ours.bytes() + 64 > capacity * 64) ASSERT_TRUE(ours.evict(step).has_value());
        BlockFacts facts{64, 1, key, 0};
        ours.insert(key, facts, step);
      }
      ASSERT_EQ(ours.entries(), plain.freq.size()) << "seed " << seed << " step " << step;
      ASSERT_EQ(hits, plain_hits) << "seed " << seed << " step " << step;
    }
    for (const auto& [key, freq] : plain.freq) ASSERT_TRUE(ours.contains(key));
  }
}

}  // namespace
}  // namespace leadline::kvstore
