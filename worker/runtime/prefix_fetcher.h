#pragma once
// PrefixFetcher: rank 0's side of getting prefixes back from the store: looks where a waiting sequence's
// blocks are, chooses fetching or computing (kvstore/fetch_chooser), has all ranks fetch, and says when the
// sequence may be scheduled and with how many staged pages. Not the bytes (kvcache/block_mover) and not pages
// (sequence_cache).
//
// One waiting sequence: unknown -> surveying -> (nothing worth it: visible) or starting -> fetching ->
// staged: visible. Until then it is held back from the scheduler and others run; it never waits longer than
// the survey's and the fetch's deadline (trap T3), and is asked once (T2). At most `max_fetches` are under
// way or staged, so waiting requests do not fill memory with blocks that cannot be used yet (T4). A tier that
// is passed over or was held off is read beside the request now and then, by one probe at a time that nobody
// waits for; else it would never be seen to recover. Thread: the step thread of rank 0.

#include <array>
#include <map>
#include <memory>
#include <optional>

#include "kvstore/fetch_chooser.h"
#include "kvstore/tiered_store.h"
#include "transport/control/messages.h"
#include "worker/kvcache/block_mover.h"
#include "worker/kvcache/sequence_cache.h"
#include "worker/runtime/fetch_hindsight.h"
#include "worker/runtime/prefix_fetcher_metrics.h"
#include "worker/scheduler/step_plan.h"

namespace leadline::worker {

struct PrefixFetcherOptions {
  std::size_t max_fetches = 16;
  std::chrono::milliseconds survey_deadline{250};
  std::chrono::milliseconds longest_fetch{10'000};
  std::chrono::milliseconds longest_probe{1'000};
  std::uint32_t local_kv_heads = 1, first_kv_head = 0;
};

class PrefixFetcher {
 public:
  PrefixFetcher(kvstore::TieredStore& store, BlockMover& mover, SequenceCache& cache,
                PrefixFetcherOptions options, PrefixFetcherMetrics metrics,
                std::unique_ptr<kvstore::AccessRecorder> accesses = nullptr);  // null: no access log

  // A waiting sequence: true = keep it out of this step's schedule.
  bool holds(SequenceId id);
  // Tokens that admission would find: the device's and, where they join, the staged ones.
  [[nodiscard]] std::uint32_t hit_tokens(SequenceId id, const PrefixHit& device) const;
  // Admits through the cache, with what is staged; the story is for usage and GET /v1/kv/explain.
  PrefixHit admit(SequenceId id, transport::KvStory& story);
  void forget(SequenceId id);  // gone, or to be computed again

  void fill(BlockPlan& plan);  // starts, polls, drops
  void polled(const BlockPlan& plan, std::span<const BlockPoll> polls);
  [[nodiscard]] bool owes_drops() const { return !drops_.empty(); }
  [[nodiscard]] bool waits() const { return held_ > 0; }  // something is under way: look again soon
  void stepped(const StepPlan& plan, double forward_s);   // what computing takes, and took
  void publish();  // sizes and states of the tiers, a few times per second

 private:
  enum class Stage : std::uint8_t { surveying, starting, fetching, staged, none };
  using Time = std::chrono::steady_clock::time_point;
  struct Entry {
    Stage stage = Stage::none;
    std::shared_ptr<const kvstore::TieredStore::Survey> survey;
    std::uint32_t fetch = 0, first_page = 0, pages = 0;
    kvstore::FetchChoice choice;
    std::vector<kvstore::TierKind> tiers;  // of the staged pages
    std::array<kvstore::TierShare, kvstore::kTierKinds> shares{};
    std::uint8_t last_tier = 0;  // of what was asked for
    Time began{}, deadline{};
    double waited_s = 0;
  };
  struct Probe {
    BlockFetchStart start;
    std::uint8_t tier = 0;
    bool begun = false;  // its start is in a plan
    Time deadline{};
  };
  void begin_probe(SequenceId id, const Entry& e, std::span<const kvstore::HitPiece> pieces);
  void fill_probe(BlockPlan& plan);
  void settle_probe();
  void begin_survey(SequenceId id, Entry& e, std::uint32_t device_pages);
  void choose(SequenceId id, Entry& e);
  void record_look(SequenceId id, std::uint32_t first_page);
  void record_offers(std::span<const BlockSeal> seals);
  void tell_cost(BlockPlan& plan) const;
  [[nodiscard]] kvstore::AccessRecord record_of(kvstore::Access access, const kvstore::BlockKey& key,
                                                const kvstore::BlockKey& parent, std::uint32_t depth) const;
  void count(const Entry& e, std::span<const kvstore::HitPiece> pieces) const;
  void settle(Entry& e, const BlockPoll& poll);
  void tell_late(const Entry& e, const BlockPoll& poll);
  [[nodiscard]] bool is_down(std::uint8_t tier) const;
  void tell(const Entry& e, const PrefixHit& hit, transport::KvStory& story) const;
  // Every change of a stage: keeps held_ and staged_, which are asked for every waiting sequence in every
  // step.
  void enter(Entry& e, Stage stage);
  [[nodiscard]] StagedBlocks staged(SequenceId id) const;

  kvstore::TieredStore& store_;
  BlockMover& mover_;
  SequenceCache& cache_;
  const PrefixFetcherOptions options_;
  const PrefixFetcherMetrics metrics_;
  kvstore::FetchChooser chooser_;
  FetchHindsight hindsight_;
  std::unique_ptr<kvstore::AccessRecorder> accesses_;
  std::map<SequenceId, Entry> entries_;
  std::vector<std::uint32_t> drops_;
  std::optional<Probe> probe_;
  std::uint32_t next_fetch_ = 1;
  std::size_t held_ = 0, staged_ = 0;  // entries that are surveying, starting or fetching; that are staged
  Time published_{};
};

}  // namespace leadline::worker
