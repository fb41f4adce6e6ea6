#pragma once
// StepPlan: everything that every rank needs for one step, as immutable values; rank 0 makes it, all execute
// it in lock step. Not a decision maker (scheduler) and not page ownership (kvcache). Followers keep no
// tables: the plan carries them whole; of compressed KV they keep how their own heads divide its pages.
// Serialised with to_bytes/from_bytes (bounded, checked; between ranks of one version only). Order of
// execution: swap_out, swap_in, copies, forget, compress, then the rows of all sequences in order.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/compression/compression_params.h"
#include "worker/errc.h"
#include "worker/kvcache/block_plan.h"
#include "worker/kvcache/page.h"
#include "worker/sequence_id.h"

namespace leadline::worker {

enum class LogitsWanted : std::uint8_t { none = 0, last = 1, all = 2 };

// A round of speculation in this step; max_draft 0: none, the rows run as they are.
struct RoundPlan {
  std::uint16_t exit = 0;       // layers that drafts run; of a climb: the first layer that asks
  std::uint16_t max_draft = 0;  // slots for so many more tokens are in the table
  bool climb = false;
  bool shadows = false;  // what every exit says of the rows that are verified is read, too
  friend bool operator==(const RoundPlan&, const RoundPlan&) = default;
};

struct SequenceStep {
  SequenceId sequence;
  std::vector<std::int32_t> tokens;  // to run: a prompt chunk, or the last sampled token
  std::uint32_t first_position = 0;  // logical position of tokens[0]
  std::uint32_t kv_before = 0;       // slots of `table` before this step
  std::vector<PageId> table;         // all pages of the sequence, those for this step's rows included; of a
                                     // compressed one: of what follows the compressed part
  std::uint8_t taps = kTapNone;      // CompressionTap: what of these rows is kept for the compression to come
  std::uint32_t tap_from = 0;        // first position of the observation window
  std::uint32_t tap_end = 0;         // where the compression will be
  LogitsWanted logits = LogitsWanted::last;
  RoundPlan round;  // other than {}: with one token and LogitsWanted::last only
  friend bool operator==(const SequenceStep&, const SequenceStep&) = default;
};

// Tokens whose exact KV stands in `from` become one more part of the sequence's compressed KV, in `to`. Ranks
// decide for their own heads and use of `to` what the neediest of them needs.
struct CompressStep {
  SequenceId sequence;
  std::vector<PageId> from;              // in slot order
  std::vector<PageId> to;                // enough for any decision
  std::uint32_t tokens = 0;              // the last page of `from` may not be full
  std::uint64_t seed = 0;                // of the tokens, for choices by lot
  std::vector<std::uint8_t> delimiters;  // per token, 1 where a chunk of text ends; may be empty
  CompressionParams params;
  friend bool operator==(const CompressStep&, const CompressStep&) = default;
};

struct StepPlan {
  std::uint64_t step = 0;
  // Whole pages that become what the lossy codec keeps of them (X5), before anything else; empty without one.
  std::vector<PageId> quantise;
  std::vector<PageSwap> swap_out, swap_in;
  std::vector<PageCopy> copies;
  BlockPlan blocks;                    // sealed before anything else, restored after swap_in
  std::vector<SequenceId> forget;      // ended or to be computed again: what ranks keep of them goes
  std::vector<CompressStep> compress;  // in order, a sequence's parts as they follow in its text
  std::vector<SequenceStep> sequences;
  // Nothing to execute. What only forgets is executed: its list is in no later plan.
  [[nodiscard]] bool empty() const {
    return quantise.empty() && swap_out.empty() && swap_in.empty() && copies.empty() && blocks.empty() &&
           forget.empty() && compress.empty() && sequences.empty();
  }
  friend bool operator==(const StepPlan&, const StepPlan&) = default;
};

// Limits of the encoding, far above what a step needs; to_bytes REQUIRES them, step_plan_from_bytes refuses
// beyond them.
inline constexpr std::uint32_t kMaxPlanMoves = 1U << 20;  // entries of each of the three lists
inline constexpr std::uint32_t kMaxPlanSequences = 1U << 16;
inline constexpr std::uint32_t kMaxPlanTokens = 1U << 20;      // of one sequence
inline constexpr std::uint32_t kMaxPlanTablePages = 1U << 20;  // of one sequence
inline constexpr std::uint32_t kMaxPlanDraft = 64;             // of one sequence
inline constexpr std::uint32_t kMaxPlanCompressions = 1U << 16;

// Little endian: u32 magic "LSP6", u64 step, quantise (u32 count, u32 each), swap_out, swap_in, copies (each
// u32 count, then pairs of u32), forget, compress (see step_plan.cpp), u32 count of sequences, and per
// sequence: u64 id, u32 first_position, u32 kv_before, u8 logits, round (u16 exit, u16 max_draft, u8 climb,
// u8 shadows), tokens (u32 count, i32 each), table (u32 count, u32 each), taps; then blocks: seals, restores,
// polls, drops (each u32 count and the values as they lie), u32 page_us, u32 page_growth_ns, starts (u32
// count; each: fetch, first_depth, deadline, parent, keys). Between ranks of one build only.
std::vector<std::byte> to_bytes(const StepPlan& plan);
// malformed_file, with the field and value: short, trailing bytes, a count beyond its limit, no tokens,
// unknown logits, a round beyond its limits or of several tokens, or a table that does not hold kv_before +
// tokens + max_draft slots. Allocates at most what the bytes can fill.
Result<StepPlan> step_plan_from_bytes(std::span<const std::byte> bytes);

}  // namespace leadline::worker
