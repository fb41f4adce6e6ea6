#pragma once
// StepTables: one step's sequences, page tables, tiles and ids as one image of words, made on the host and
// sent to the device in one copy. Not the kernels' view of it (kernel_args.h, StepImage). Thread: the step
// thread. Invariant: what a recorded step bakes in (offsets of rows, ids and tiles) depends on counts only;
// page tables, whose sizes change from step to step, come last.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/backend/cuda/kernel_args.h"

namespace leadline::worker::cuda {

struct StepLayout {
  std::uint32_t rows_at = 0, tokens_at = 0, logit_rows_at = 0, kept_in_at = 0, kept_out_at = 0, tiles_at = 0,
                wide_at = 0, walked_rows_at = 0;
  std::int32_t sequences = 0, rows = 0, tokens = 0, logit_rows = 0, tiles = 0, wide_tiles = 0;
  std::int64_t longest_slots = 0;  // of any sequence and head, this step's rows included
  int widest_tile = 1;
  std::uint32_t first_base = 0;
  bool plain = true;   // no lengths per head, holes or biases
  bool decode = true;  // every sequence decodes
};

struct TileShape {
  std::int32_t kv_heads = 0;
  std::int32_t group = 0;  // query heads of a KV head; 0 leaves the tiles out
  bool wide = false;       // prompt rows go to the matrix units, in tiles of their own
  friend bool operator==(const TileShape&, const TileShape&) = default;
};

class StepTables {
 public:
  // A step of decode rows only is padded to step_bucket: sequences without rows, tiles without vectors.
  // The words stay valid until the next call.
  StepLayout build(const StepRows& step, const TileShape& shape);
  [[nodiscard]] std::span<const std::uint32_t> words() const { return words_; }

 private:
  SequenceWords place(const SequenceRows& s, std::int32_t kv_heads, StepLayout& layout);

  std::vector<std::uint32_t> words_;
};

// `now` are the sequences that the layout was made of, but for bases that moved by one amount.
bool only_bases_moved(std::span<const SequenceRows> now, const StepLayout& layout,
                      std::span<const std::uint32_t> words);
// By how much the bases of `now` differ from those that the layout was made with: the same for all. REQUIRES
// that.
std::uint32_t base_shift(std::span<const SequenceRows> now, const StepLayout& layout,
                         std::span<const std::uint32_t> words);

}  // namespace leadline::worker::cuda
