#pragma once
// RankedEviction: a learned ranker's choice behind a guard. Candidates are the K leaves used longest ago
// (Cold-RL's frame); the ranker says when each will be used again; the one whose expected saving per byte and
// second held, cost / (bytes * seconds), is least leaves.
//
// Three fences, so that a bad model costs little:
//   guard     arXiv 2507.16242 (NeurIPS 2025): in phases, a block that comes back after the ranker threw it
//   out
//             in this phase is out of its reach until the phase ends, and for it a block that was not used in
//             this phase leaves, whatever the ranker thinks. Robust (a constant factor of marking
//             algorithms), and as good as the ranker where that is right. Deviation: the unused block is
//             drawn from the 64 used longest ago, not from all.
//   deadline  an answer that took longer than it may is thrown away, and after a few in a row the ranker
//   rests;
//             no answer: S3-FIFO's choice, which is kept up to date all the time.
//   shadow    the ranker is asked, compared and counted, and S3-FIFO's choice is taken.
// Thread, invariants: EvictionPolicy's. The clock for the deadline is handed in.

#include <functional>
#include <memory>
#include <set>
#include <unordered_set>
#include <vector>

#include "kvstore/eviction/chains.h"
#include "kvstore/eviction/reuse_ranker.h"

namespace leadline::kvstore {

enum class EvictedBy : std::uint8_t { ranker, guard, fallback };
// What became of asking: its choice was taken; in shadow, was S3-FIFO's, too, or not; it came too late; there
// was none; the ranker rests.
enum class RankerAnswer : std::uint8_t { taken, agreed, differed, late, none, resting };
// In shadow, of two choices that differed: the block that left came back, or the one that would have left was
// used while it was still here. Fewer `spared` than `left`: the ranker chose better.
enum class ShadowReturn : std::uint8_t { left, spared };

// Told while the tier's lock is held: counters only. All may be empty.
struct RankedEvents {
  std::function<void(EvictedBy)> evicted;
  std::function<void(RankerAnswer)> answered;
  std::function<void(ShadowReturn)> returned;
};

struct RankedOptions {
  std::uint64_t capacity_bytes = 0;
  bool shadow = true;
  std::size_t candidates = 16;  // at most kMaxCandidates
  double deadline_us = 500;
  int late_limit = 3;        // late answers in a row before the ranker rests
  int rest_evictions = 256;  // for so many choices
  std::uint64_t seed = 1;
  RankedEvents events;
  static constexpr std::size_t kMaxCandidates = 64;
};

struct RankedCounts {
  std::array<std::uint64_t, 3> by{};       // evictions; index: EvictedBy
  std::array<std::uint64_t, 6> answers{};  // index: RankerAnswer
  std::array<std::uint64_t, 2> returns{};  // index: ShadowReturn
  std::uint64_t asked = 0;
  [[nodiscard]] std::uint64_t operator[](EvictedBy who) const { return by[static_cast<std::size_t>(who)]; }
  [[nodiscard]] std::uint64_t operator[](RankerAnswer a) const {
    return answers[static_cast<std::size_t>(a)];
  }
  [[nodiscard]] std::uint64_t operator[](ShadowReturn r) const {
    return returns[static_cast<std::size_t>(r)];
  }
  [[nodiscard]] std::uint64_t evictions() const { return by[0] + by[1] + by[2]; }
};

class RankedEviction final : public EvictionPolicy {
 public:
  // `ranker` outlives this. `now_us`: a monotonic clock.
  RankedEviction(RankedOptions options, const ReuseRanker& ranker, std::function<double()> now_us);

  void insert(const BlockKey& key, const BlockFacts& facts, double now_s) override;
  void touch(const BlockKey& key, double now_s) override;
  void erase(const BlockKey& key) override;
  [[nodiscard]] std::optional<BlockKey> evict(double now_s) override;
  [[nodiscard]] bool contains(const BlockKey& key) const override { return chains_.find(key) != nullptr; }
  [[nodiscard]] std::uint64_t bytes() const override { return chains_.bytes(); }
  [[nodiscard]] std::size_t entries() const override { return chains_.size(); }
  [[nodiscard]] std::string_view name() const override {
    return options_.shadow ? "learned-shadow" : "learned";
  }
  [[nodiscard]] const RankedCounts& counts() const { return counts_; }

 private:
  struct Entry {
    BlockFacts facts;
    const BlockKey* key = nullptr;
    UseHistory history;
    std::uint64_t stamp = 0;  // of the last use
    bool guarded = false;
  };
  struct Older {
    bool operator()(const Entry* a, const Entry* b) const { return a->stamp < b->stamp; }
  };
  void remove(const BlockKey& key);
  void used(const BlockKey& key);
  void compare(const BlockKey& left, const BlockKey& named);
  void count(EvictedBy by);
  void count(RankerAnswer answer);
  void count(ShadowReturn what);
  [[nodiscard]] Entry* ask(double now_s);  // the ranker's choice, or null
  [[nodiscard]] Entry* unused_in_phase();  // drawn from the leaves not used in this phase, or null
  void begin_phase_if_over();

  const RankedOptions options_;
  const ReuseRanker& ranker_;
  const std::function<double()> now_us_;
  std::unique_ptr<EvictionPolicy> fallback_;  // sees everything
  Chains<Entry> chains_;
  std::set<Entry*, Older> leaves_;
  std::uint64_t stamp_ = 0, phase_stamp_ = 0;
  std::unordered_set<BlockKey> thrown_out_;  // by anybody in this phase
  // In shadow, of this phase: left although the ranker named another; would have left by the ranker, are
  // here.
  std::unordered_set<BlockKey> left_, spared_;
  std::vector<BlockKey> guarded_;
  std::uint32_t owed_ = 0;  // returns of thrown-out blocks that the guard has yet to answer
  int late_in_a_row_ = 0, resting_ = 0;
  std::uint64_t random_;
  RankedCounts counts_;
};

}  // namespace leadline::kvstore
