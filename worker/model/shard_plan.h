#pragma once
// ShardPlan: which slice of which tensor each rank of 1, 2, 4 or 8 owns. Not loading and not communication.
// Thread: pure values.
// Invariants:
//   1. The slices of o_proj and down_proj are the same for every rank count (exactness X2): `slices` equal
//   cuts along K in
//      all, slices / ranks on each rank, so that the sum's binary tree is one tree.
//   2. A rank's cut of o_proj is its own query heads, its cut of down_proj its own FFN channels.
//   3. With fewer KV heads than ranks a KV head is replicated on ranks / kv_heads ranks.

#include <cstdint>

#include "worker/errc.h"
#include "worker/model/model_config.h"

namespace leadline::worker {

struct Range {
  std::int64_t begin = 0, count = 0;
  [[nodiscard]] std::int64_t end() const { return begin + count; }
  friend bool operator==(const Range&, const Range&) = default;
};

struct ShardPlan {
  int rank = 0, ranks = 1;
  Range query_heads;  // rows of q_proj and columns of o_proj, in heads
  Range kv_heads;     // rows of k_proj and v_proj, in heads
  Range ffn;          // rows of gate_proj and up_proj, columns of down_proj
  Range vocab;        // rows of the head; may be empty on the last ranks of a tiny vocabulary
  std::int64_t vocab_share =
      0;  // columns that each rank gathers; rank r's rows are [r * share, ...) cut at the vocabulary
  int o_slices = 1;     // on this rank
  int down_slices = 1;  // on this rank
  bool kv_alone =
      false;  // k_proj and v_proj are packed a second time, without q: what Transformer::write_kv runs

  // unsupported_model, with field and value, when the dimensions do not divide.
  static Result<ShardPlan> make(const ModelConfig& config, int rank, int ranks);
};

}  // namespace leadline::worker
