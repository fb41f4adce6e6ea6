#include "worker/model/activations.h"

#include <algorithm>
#include <utility>

namespace leadline::worker {

Result<Activations> Activations::allocate(const ModelConfig& config, const ShardPlan& plan,
                                          const ActivationRows& most, Backend& backend) {
  Activations a;
  a.hidden_ = config.hidden;
  a.query_columns_ = plan.query_heads.count * config.head_dim;
  a.qkv_columns_ = a.query_columns_ + 2 * plan.kv_heads.count * config.head_dim;
  a.ffn_ = plan.ffn.count;
  a.vocab_share_ = plan.vocab_share;
  a.rank_ = plan.rank;
  a.ranks_ = plan.ranks;
  const std::int64_t rows = most.step, logit_rows = most.logits;
  const bool gathers_logits = plan.ranks > 1 && plan.rank == 0;
  const std::pair<std::unique_ptr<Buffer>*, std::int64_t> wanted[] = {
      {&a.residual_, rows * a.hidden_},
      {&a.kept_, (std::int64_t{most.kept} + 1) * a.hidden_},
      {&a.normed_, rows * a.hidden_},
      {&a.qkv_, rows * a.qkv_columns_},
      {&a.attended_, rows * a.query_columns_},
      {&a.gate_up_, rows * 2 * a.ffn_},
      {&a.gated_, rows * a.ffn_},
      {&a.partials_, rows * a.hidden_ * plan.ranks},
      {&a.chosen_, logit_rows * a.hidden_},
      // Only rank 0 holds all shares; the others need room at the place of their own.
      {&a.shares_, logit_rows * a.vocab_share_ * plan.ranks},
      {&a.logits_, gathers_logits ? logit_rows * a.vocab_share_ * plan.ranks : 1},
  };
  for (const auto& [buffer, floats] : wanted) {
    auto made = backend.allocate(floats * std::int64_t{sizeof(float)}, "activations");
    if (!made) return tl::unexpected(made.error());
    *buffer = std::move(*made);
  }
  return a;
}

std::span<float> Activations::partials(std::int64_t rows) const {
  return {static_cast<float*>(partials_->data()), static_cast<std::size_t>(rows * hidden_ * ranks_)};
}

FloatMatrix Activations::own_partial(std::int64_t rows) const {
  return {static_cast<float*>(partials_->data()) + rank_ * rows * hidden_, rows, hidden_};
}

FloatMatrix Activations::share_of(int rank, std::int64_t rows) const {
  return {static_cast<float*>(shares_->data()) + rank * rows * vocab_share_, rows, vocab_share_};
}

std::span<float> Activations::shares(std::int64_t rows) const {
  return {static_cast<float*>(shares_->data()), static_cast<std::size_t>(rows * vocab_share_ * ranks_)};
}

FloatMatrix Activations::logits(std::int64_t rows) const {
  if (ranks_ == 1) return share_of(0, rows);
  return view(logits_, rows, vocab_share_ * ranks_);
}

}  // namespace leadline::worker
