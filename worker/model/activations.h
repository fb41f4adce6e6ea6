#pragma once
// Activations: the scratch of one step on one rank, sized at start-up, all f32. Not KV and not weights.
// Thread: the step thread. Invariant: the views handed out for a step of R rows lie in the buffers allocated
// for max_rows.

#include <cstdint>
#include <memory>

#include "worker/backend/backend.h"
#include "worker/model/model_config.h"
#include "worker/model/shard_plan.h"

namespace leadline::worker {

struct ActivationRows {  // the most of each
  std::int32_t step = 0, logits = 0;
  std::int32_t kept = 0;  // hidden states that outlive their pass; one slot more, for nobody
};

class Activations {
 public:
  // out_of_memory from the backend.
  static Result<Activations> allocate(const ModelConfig& config, const ShardPlan& plan,
                                      const ActivationRows& most, Backend& backend);

  // Of a step of `rows` rows; D hidden, N (Hq + 2 Hk) d, A Hq d, F this rank's FFN channels.
  [[nodiscard]] FloatMatrix residual(std::int64_t rows) const {
    return view(residual_, rows, hidden_);
  }  // (rows, D)
  [[nodiscard]] FloatMatrix kept(std::int64_t first, std::int64_t rows) const {
    return {static_cast<float*>(kept_->data()) + first * hidden_, rows, hidden_};
  }  // (rows, D), from slot `first` on
  [[nodiscard]] FloatMatrix normed(std::int64_t rows) const {
    return view(normed_, rows, hidden_);
  }  // (rows, D)
  [[nodiscard]] FloatMatrix qkv(std::int64_t rows) const {
    return view(qkv_, rows, qkv_columns_);
  }  // (rows, N)
  [[nodiscard]] FloatMatrix attended(std::int64_t rows) const {
    return view(attended_, rows, query_columns_);
  }  // (rows, A)
  [[nodiscard]] FloatMatrix gate_up(std::int64_t rows) const {
    return view(gate_up_, rows, 2 * ffn_);
  }                                                                                              // (rows, 2F)
  [[nodiscard]] FloatMatrix gated(std::int64_t rows) const { return view(gated_, rows, ffn_); }  // (rows, F)
  // Partials of all ranks, (ranks, rows, D), and this rank's part of it.
  [[nodiscard]] std::span<float> partials(std::int64_t rows) const;
  [[nodiscard]] FloatMatrix own_partial(std::int64_t rows) const;
  // Of `rows` logit rows: the chosen rows, (rows, D); each rank's share, (ranks, rows, share); the whole,
  // (rows, ranks * share).
  [[nodiscard]] FloatMatrix chosen(std::int64_t rows) const { return view(chosen_, rows, hidden_); }
  [[nodiscard]] FloatMatrix share_of(int rank, std::int64_t rows) const;
  [[nodiscard]] std::span<float> shares(std::int64_t rows) const;
  [[nodiscard]] FloatMatrix logits(std::int64_t rows) const;

 private:
  static FloatMatrix view(const std::unique_ptr<Buffer>& buffer, std::int64_t rows, std::int64_t columns) {
    return {static_cast<float*>(buffer->data()), rows, columns};
  }

  // Constant after allocate.
  std::int64_t hidden_ = 0, qkv_columns_ = 0, query_columns_ = 0, ffn_ = 0, vocab_share_ = 0;
  int rank_ = 0, ranks_ = 1;
  std::unique_ptr<Buffer> residual_, kept_, normed_, qkv_, attended_, gate_up_, gated_, partials_, chosen_,
      shares_, logits_;
};

}  // namespace leadline::worker
