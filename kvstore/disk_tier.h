#pragma once
// DiskTier: blocks as files in a directory that several processes share (ranks, workers, later starts),
// bounded by the bytes that the files really cost. Not a database: the directory is the truth, the index here
// is what this process knows of it. Thread: any; the mutex guards the index and is never held during I/O.
// Invariants, besides tier.h's:
//   1. A file under its name is a whole block, or was damaged after it was written; damage is moved to
//      quarantine and never deleted. When quarantine holds an eighth of the capacity, the tier stores no
//      more.
//   2. All processes together stay within the capacity (disk_usage).
//   3. What another process stored, evicted or moved away is found or missed by looking, not by being told.

#include <atomic>
#include <memory>
#include <mutex>

#include "kvstore/disk_files.h"
#include "kvstore/disk_usage.h"
#include "kvstore/tier.h"
#include "kvstore/tier_index.h"

namespace leadline::kvstore {

struct DiskTierOptions {
  std::string directory;
  std::uint64_t capacity_bytes = 0;
  TierIndexOptions index;
  std::chrono::milliseconds retry{5'000};  // after the filesystem was full or not writable
  TierEvents events;
  UnixClock unix_now = unix_now_s;
  std::function<void(std::string_view what, std::string_view why)> log;
};

class DiskTier final : public Tier {
 public:
  // Fast: makes the directory. An unwritable directory is not an error but a state.
  static Result<std::unique_ptr<DiskTier>> open(DiskTierOptions options);
  // Finds the blocks of earlier starts and other processes, puts damage into quarantine, counts bytes. Blocks
  // can be read before; until it was done once nothing is stored. May take seconds: the store's thread calls
  // it.
  void scan(const std::atomic<bool>& stop);

  [[nodiscard]] TierKind kind() const override { return TierKind::disk; }
  [[nodiscard]] bool waits() const override { return true; }
  void start(const std::atomic<bool>& stop) override { scan(stop); }
  void get(std::span<const BlockId> ids, std::span<TierRead> reads, TierDeadline deadline) override;
  void expect(std::span<const BlockId> ids) override;
  [[nodiscard]] std::size_t leading(std::span<const BlockId> ids, TierDeadline deadline) override;
  PutOutcome put(const BlockPtr& block, TierDeadline deadline) override;
  bool erase(const BlockId& id, TierDeadline deadline) override;
  [[nodiscard]] TierUsage usage() const override;
  [[nodiscard]] TierState state() const override;
  [[nodiscard]] std::string why() const override;

 private:
  DiskTier(DiskTierOptions options, std::unique_ptr<DiskFiles> files);
  TierRead get_one(const BlockId& id);
  void damaged(const BlockId& id, std::string_view why);
  [[nodiscard]] bool make_room(std::uint64_t bytes, TierDeadline deadline);
  [[nodiscard]] bool evict_one();
  void insert(const BlockHeader& header, std::uint64_t cost);
  void fail_stores(std::string why);
  [[nodiscard]] bool may_store();
  bool join_users();

  const DiskTierOptions options_;
  const std::unique_ptr<DiskFiles> files_;
  std::atomic<std::uint64_t> quarantined_bytes_{0};
  // guarded by mutex_
  mutable std::mutex mutex_;
  std::unique_ptr<DiskUsage> usage_;  // null: could not be joined yet; kept once it is there
  TierIndex index_;
  bool scanned_ = false;
  std::string why_;  // stores fail
  std::chrono::steady_clock::time_point retry_at_{};
  std::chrono::steady_clock::time_point scanned_at_{};
};

}  // namespace leadline::kvstore
