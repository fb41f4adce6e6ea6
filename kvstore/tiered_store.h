#pragma once
// TieredStore: the only class that callers use: blocks go in and come back, from whichever tier has them.
//
// Policy. Tiers are ordered: memory, disk, Redis. A new block goes to memory at once and to each lower tier
// behind it, by that tier's own thread and bounded queue: a full queue drops the store and counts it, so the
// slowest tier holds up nobody and pins at most its queue (trap T5). Within a tier loads go before stores: a
// store waits a moment while a load is under way. A read asks the tiers in order and takes each block from
// the first that has it; what came from a lower tier is put into memory again (promotion), never at the cost
// of a load. A block that is damaged or is not what was expected is erased where it was found and is a miss,
// there and then (T2). A tier that is down answers at once; the others go on. Not a decision whether to fetch
// (fetch_chooser), not pages.
//
// Thread: every function from any thread, none waits for I/O but close(). Work runs on the store's threads:
// one that seals, and for each tier with I/O one that loads and one that stores.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "kvstore/block_fetch.h"
#include "kvstore/block_packing.h"
#include "kvstore/job_queue.h"
#include "kvstore/recompute_cost.h"
#include "kvstore/store_metrics.h"

namespace leadline::kvstore {

struct TieredStoreOptions {
  std::uint64_t queue_bytes = std::uint64_t{64} << 20;  // waiting to be stored: sealed, and per tier
  std::size_t queued_loads = 64;                        // requests waiting for one tier
  std::chrono::milliseconds store_deadline{2'000};      // of one block
  std::chrono::milliseconds yield_to_loads{20};         // a store waits at most so long for loads under way
  std::size_t load_batch = 32;                          // blocks asked of a tier at once
  std::optional<BlockPacking> packing;                  // of blocks in tiers; none: as pages have them
  std::shared_ptr<RecomputeCost> cost;                  // the tiers' own; null: nobody asks
};

class TieredStore {
 public:
  // `tiers` in the order of asking, at most one of each kind.
  TieredStore(std::vector<std::unique_ptr<Tier>> tiers, TieredStoreOptions options, StoreMetrics metrics);
  ~TieredStore();

  // Called from the store's threads when a fetch or a survey has something new; must not wait.
  void set_notifier(std::function<void()> notify);

  // The draft is sealed and stored in the background; dropped, and counted, when too much waits.
  void put(BlockDraft draft);
  // Everything that the tiers have of the run, from its first key on.
  BlockFetchPtr fetch(BlockRun run, TierDeadline deadline);

  // Where a chain's leading blocks are, by what the tiers say of one head: a hint for the choice.
  struct Survey {
    std::atomic<bool> finished{false};
    std::vector<TierKind> tiers;  // of the leading keys; read it when finished
  };
  std::shared_ptr<const Survey> survey(std::vector<BlockKey> keys, std::uint16_t head, TierDeadline deadline);

  void learn_cost(double first_s, double growth_s) const;  // RecomputeCost::set
  void publish() const;                                    // sizes and states into the metrics
  [[nodiscard]] std::size_t load_batch() const { return options_.load_batch; }
  [[nodiscard]] bool has(TierKind kind) const { return of(kind) != nullptr; }
  [[nodiscard]] const Tier* of(TierKind kind) const;
  void close(std::chrono::milliseconds patience);  // stores what waits, within patience
  void wait_idle();                                // for tests

 private:
  struct Lane {  // a tier and its threads
    std::unique_ptr<Tier> tier;
    std::unique_ptr<JobQueue> loads, stores;  // loads: also for memory; stores: only where the tier does I/O
    std::atomic<int> loading{0};
  };
  void seal_and_store(BlockDraft draft);
  void store_behind(Lane& lane, const BlockPtr& block);
  void store_now(Lane& lane, const BlockPtr& block);
  void read(const BlockFetchPtr& fetch, std::size_t lane, std::vector<std::size_t> missing);
  [[nodiscard]] std::vector<std::size_t> read_tier(BlockFetch& fetch, Lane& lane,
                                                   const std::vector<std::size_t>& missing);
  [[nodiscard]] bool accept(BlockFetch& fetch, Lane& lane, std::size_t index, TierRead read);
  void look(const std::shared_ptr<Survey>& survey, std::vector<BlockId> ids, TierDeadline deadline);
  void notify();

  // constant after construction
  const TieredStoreOptions options_;
  const StoreMetrics metrics_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<bool> stop_{false};
  // guarded by notify_mutex_
  std::mutex notify_mutex_;
  std::function<void()> notify_;
  std::unique_ptr<JobQueue> sealing_;
};

}  // namespace leadline::kvstore
