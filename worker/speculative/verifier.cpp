#include "worker/speculative/verifier.h"

#include <algorithm>
#include <numeric>

namespace leadline::worker {

void Verifier::clear() {
  items_.clear();
}

void Verifier::add_plain(SequenceRows rows, std::span<const std::int32_t> tokens, std::int32_t logits) {
  items_.push_back({rows, tokens, {}, logits, 0});
}

void Verifier::add_round(const RoundStart& start, const DraftedRound& drafted) {
  SequenceRows rows;
  rows.rows = static_cast<std::int32_t>(drafted.inputs.size());
  rows.first_position = start.position;
  rows.kv_before = start.kv_before;
  rows.kv = start.kv;
  rows.decode = true;
  items_.push_back({rows, drafted.inputs, drafted.kept_slots, rows.rows, drafted.exit});
}

void Verifier::lay_out(std::int32_t layers) {
  std::vector<std::size_t> order(items_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return items_[a].join < items_[b].join; });
  tokens_.clear();
  sequences_.clear();
  logit_rows_.clear();
  kept_in_.clear();
  layers_.clear();
  first_logits_.assign(items_.size(), -1);
  for (const std::size_t i : order) {
    Item& item = items_[i];
    item.rows.first_row = static_cast<std::int32_t>(tokens_.size());
    tokens_.insert(tokens_.end(), item.tokens.begin(), item.tokens.end());
    kept_in_.insert(kept_in_.end(), item.kept.begin(), item.kept.end());
    sequences_.push_back(item.rows);
    layers_.push_back({item.join, layers});
    if (item.logits > 0) first_logits_[i] = static_cast<std::int32_t>(logit_rows_.size());
    const auto end = static_cast<std::int32_t>(tokens_.size());
    for (std::int32_t row = end - item.logits; row < end; ++row) logit_rows_.push_back(row);
  }
  if (kept_in_.empty()) layers_.clear();  // no round: every row runs every layer
}

Result<ConstFloatMatrix> Verifier::run(Transformer& transformer, KvPool& pool, const VerifyPass& pass) {
  lay_out(transformer.layers());
  StepBatch batch{tokens_, sequences_, pass.layer_unit_step, logit_rows_, layers_, kept_in_};
  batch.tap = pass.tap;
  batch.logits_stay = pass.logits_stay;
  return transformer.forward(batch, pool);
}

}  // namespace leadline::worker
