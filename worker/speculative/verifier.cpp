#include "worker/speculative/verifier.h"

#include <algorithm>
#include <numeric>

namespace leadline::worker {

void Verifier::clear() {
  items_.clear();
}

void Verifier::add_plain(SequenceRows rows, std::span<const std::int32_t> tokens, std::int32_t logits,
                         std::int32_t shadow_slot) {
  items_.push_back({rows, tokens, {}, logits, 0, shadow_slot});
}

void Verifier::add_round(const RoundStart& start, const DraftedRound& drafted) {
  SequenceRows rows;
  rows.rows = static_cast<std::int32_t>(drafted.inputs.size());
  rows.first_position = start.position;
  rows.kv_before = start.kv_before;
  rows.kv = start.kv;
  rows.decode = true;
  items_.push_back({rows, drafted.inputs, drafted.kept_slots, rows.rows, drafted.exit, start.shadow_slot});
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
  taps_.clear();
  for (const std::size_t i : order) {
    Item& item = items_[i];
    item.rows.first_row = static_cast<std::int32_t>(tokens_.size());
    tokens_.insert(tokens_.end(), item.tokens.begin(), item.tokens.end());
    kept_in_.insert(kept_in_.end(), item.kept.begin(), item.kept.end());
    sequences_.push_back(item.rows);
    layers_.push_back({item.join, layers});
    for (std::int32_t row = 0; row < item.rows.rows && item.shadow_slot >= 0; ++row)
      add_exit_taps(exits_, layers_.back(), item.rows.first_row + row,
                    item.shadow_slot + row * static_cast<std::int32_t>(exits_.size()), taps_);
    if (item.logits > 0) first_logits_[i] = static_cast<std::int32_t>(logit_rows_.size());
    const auto end = static_cast<std::int32_t>(tokens_.size());
    for (std::int32_t row = end - item.logits; row < end; ++row) logit_rows_.push_back(row);
  }
  sort_taps(taps_);
  exit_slots_.clear();
  for (const Item& item : items_)
    for (std::int32_t s = 0;
         item.shadow_slot >= 0 && s < item.rows.rows * static_cast<std::int32_t>(exits_.size()); ++s)
      exit_slots_.push_back(item.shadow_slot + s);
  if (kept_in_.empty()) layers_.clear();  // no round: every row runs every layer
}

Result<ConstFloatMatrix> Verifier::run(Transformer& transformer, KvPool& pool, const VerifyPass& pass) {
  lay_out(transformer.layers());
  StepBatch batch{tokens_, sequences_, pass.layer_unit_step, logit_rows_, layers_, kept_in_};
  batch.tap = pass.tap;
  batch.logits_stay = pass.logits_stay;
  batch.exit_taps = taps_;
  batch.exit_slots = exit_slots_;
  batch.exit_reader = pass.exit_reader;
  return transformer.forward(batch, pool);
}

}  // namespace leadline::worker
