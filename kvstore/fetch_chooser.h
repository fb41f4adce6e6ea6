#pragma once
// FetchChooser: fetch a prefix's blocks or compute it again? Learns what each tier's loads and what prefill
// take here and now, and chooses how much of a hit to fetch so that the prompt is ready soonest. Pure: times
// are arguments. Not the loads themselves (tiered_store) and not the measuring.
//
// The rule: over all leading parts of the hit, the least of
//     fetch(part) with the tier's spread added + prefill(rest of the prompt),
// the empty part included: nothing is fetched that is expected to be slower than computing. A fetch that runs
// gets a deadline: what computing would have taken. Waiting no longer than that and then computing costs at
// most twice the better of the two, whatever the tier does (the ski-rental bound; Karlin, Manasse, Rudolph,
// Sleator 1988, "Competitive snoopy caching").
// A tier that timed out is not asked for a while that doubles (hold-off), and then by a few blocks; a tier
// that is passed over is tried again with a few blocks now and then (`probe`), else it would never be seen to
// recover.
// Thread: the owner's. Invariants: choose() changes nothing; a tier in hold-off is never chosen; with no
// pieces nothing is fetched.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kvstore/online_fit.h"

namespace leadline::kvstore {

// A run of leading blocks of a hit that lie in one tier.
struct HitPiece {
  std::uint8_t tier = 0;     // an index that the caller gives meaning (TierKind's number)
  std::uint32_t tokens = 0;  // that it covers
  std::uint32_t blocks = 0;
  std::uint64_t bytes = 0;
};

struct TierPrior {  // believed before anything was measured
  double latency_s = 1e-3;
  double bytes_per_s = 1e8;
};

struct FetchChooserOptions {
  static constexpr std::size_t kTiers = 3;
  std::array<TierPrior, kTiers> tiers = {{{2e-5, 4e9}, {3e-4, 5e8}, {2e-3, 1e8}}};  // memory, disk, Redis
  double prefill_s_per_token = 1e-3;  // before prefill was measured
  double caution = 1.0;               // spreads added to a fetch's expected time
  double hold_off_s = 1.0;            // after a timeout; doubles with each in a row
  double max_hold_off_s = 30.0;
  double probe_after_s = 5.0;  // since a tier that was passed over was last read
  double least_deadline_s = 2e-3;
};

struct FetchChoice {
  std::uint32_t blocks = 0;  // leading ones to fetch; 0: compute
  std::uint32_t tokens = 0;
  double fetch_s = 0;                 // expected for them, without caution
  double saved_s = 0;                 // prefill that they spare, expected
  double deadline_s = 0;              // give up then and compute
  double recompute_s = 0;             // the whole prompt without any fetch
  std::optional<std::uint8_t> probe;  // read probe_blocks of this tier beside the request, tell loaded()
  std::uint32_t probe_blocks = 0;
  std::uint32_t offered_blocks = 0;  // of the hit
  double passed_over_fetch_s = 0;    // expected for the rest of the hit, which is computed
  double passed_over_saved_s = 0;
};

class FetchChooser {
 public:
  explicit FetchChooser(const FetchChooserOptions& options = {});

  // Measured: one load of `bytes` from a tier; one that had not come within `waited_s`; a prefill of `tokens`
  // rows beginning at `first_position`.
  void loaded(std::uint8_t tier, std::uint64_t bytes, double seconds, double now_s);
  void timed_out(std::uint8_t tier, std::uint64_t bytes, double waited_s, double now_s);
  void prefilled(std::uint32_t tokens, std::uint32_t first_position, double seconds);

  // `prompt_tokens`: known tokens; `have_tokens`: of them on the device already, where the pieces begin.
  [[nodiscard]] FetchChoice choose(std::span<const HitPiece> pieces, std::uint32_t have_tokens,
                                   std::uint32_t prompt_tokens, double now_s) const;

  [[nodiscard]] double fetch_s(std::uint8_t tier, std::uint64_t bytes) const;
  [[nodiscard]] double prefill_s(std::uint32_t first_position, std::uint32_t tokens) const;
  [[nodiscard]] bool held_off(std::uint8_t tier, double now_s) const;

 private:
  struct TierModel {
    OnlineFit time;
    double last_read_s = -1e18;
    double held_until_s = -1e18;
    int timeouts = 0;  // in a row
    std::uint64_t reads = 0;
  };
  struct Part;
  [[nodiscard]] double cautious_s(std::uint8_t tier, std::uint64_t bytes) const;
  [[nodiscard]] double part_s(const Part& part, bool careful) const;
  [[nodiscard]] bool worth_a_probe(std::uint8_t tier, double now_s) const;
  FetchChooserOptions options_;
  std::vector<TierModel> tiers_;
  OnlineFit prefill_;
};

// What a choice cost beyond the better alternative, as far as can be known afterwards: by how much a fetch
// took longer than computing was expected to, and what was passed over took longer to compute than to fetch.
// Never negative. `fetched_s`, `computed_s`: measured, of the blocks that were fetched and of what was passed
// over.
[[nodiscard]] double regret_s(const FetchChoice& choice, double fetched_s, double computed_s = 0);

}  // namespace leadline::kvstore
