#include "worker/model/batch_checks.h"

#include <algorithm>
#include <string>

#include "monitoring/check.h"

namespace leadline::worker {
namespace {

void check_rows(const StepBatch& batch, const BatchLimits& limits) {
  const auto rows = static_cast<std::int32_t>(batch.tokens.size());
  LEADLINE_CHECK(rows > 0 && rows <= limits.rows, "a step has 1 to max_rows rows");
  LEADLINE_CHECK(static_cast<std::int32_t>(batch.logit_rows.size()) <= limits.logit_rows,
                 "too many logit rows");
  std::int32_t next = 0;
  for (const SequenceRows& sequence : batch.sequences) {
    LEADLINE_CHECK(sequence.first_row == next && sequence.rows > 0, "sequences cover the rows in order");
    LEADLINE_CHECK(
        sequence.first_position >= 0 && sequence.first_position + sequence.rows <= limits.positions,
        "positions beyond the RoPE table");
    next += sequence.rows;
  }
  LEADLINE_CHECK(next == rows, "sequences cover all rows");
  for (const std::int32_t token : batch.tokens)
    LEADLINE_CHECK(token >= 0 && token < limits.vocab, "token id beyond the vocabulary");
  for (const std::int32_t row : batch.logit_rows)
    LEADLINE_CHECK(row >= 0 && row < rows, "logit row beyond the step");
}

void check_layers(const StepBatch& batch, const BatchLimits& limits) {
  LEADLINE_CHECK(batch.layers.size() == batch.sequences.size(), "a layer range for every sequence");
  std::int32_t joining = 0, rows = 0;
  for (std::size_t i = 0; i < batch.layers.size(); ++i) {
    const LayerRange range = batch.layers[i];
    LEADLINE_CHECK(range.first >= 0 && range.first < range.last && range.last <= limits.layers,
                   "layers beyond the model");
    rows += batch.sequences[i].rows;
    joining += range.first > 0 ? batch.sequences[i].rows : 0;
    if (i == 0) continue;
    const LayerRange before =
        batch.layers[i - 1];  // whoever comes later runs no layer that this one does not
    LEADLINE_CHECK(range.first >= before.first && range.last <= before.last, "rows of a layer come first");
  }
  LEADLINE_CHECK(joining == static_cast<std::int32_t>(batch.kept_in.size()),
                 "a kept slot for every joining row");
  for (const std::int32_t slot : batch.kept_in)
    LEADLINE_CHECK(slot >= 0 && slot < limits.kept_rows, "kept slot beyond the buffer");
  LEADLINE_CHECK(batch.kept_out < 0 || batch.kept_out + rows <= limits.kept_rows,
                 "more rows than kept slots");
}

// A row's hidden state is tapped at layers that it runs, and no slot beyond the buffer is named.
void check_taps(const StepBatch& batch, const BatchLimits& limits) {
  for (std::size_t i = 0; i < batch.exit_taps.size(); ++i) {
    const ExitTap& tap = batch.exit_taps[i];
    LEADLINE_CHECK(tap.row >= 0 && tap.row < static_cast<std::int32_t>(batch.tokens.size()) &&
                       tap.slot >= 0 && tap.slot < limits.kept_rows && tap.layer > 0 &&
                       tap.layer <= limits.layers,
                   "a tap beyond the step");
    LEADLINE_CHECK(i == 0 || batch.exit_taps[i - 1].layer <= tap.layer, "taps ascend");
  }
  for (const std::int32_t slot : batch.exit_slots)
    LEADLINE_CHECK(slot >= 0 && slot < limits.kept_rows, "exit slot beyond the buffer");
  LEADLINE_CHECK(batch.exit_slots.empty() || batch.exit_reader != nullptr, "exits are read by somebody");
}

}  // namespace

void check_batch(const StepBatch& batch, const BatchLimits& limits) {
  check_rows(batch, limits);
  if (!batch.layers.empty()) check_layers(batch, limits);
  check_taps(batch, limits);
}

Result<void> check_options(const ModelConfig& config, const TransformerOptions& options) {
  const auto out_of_range = [](const char* name, std::int64_t value) {
    return monitoring::fail(Errc::configuration,
                            std::string(name) + " = " + std::to_string(value) + ": out of range");
  };
  if (options.max_rows < 1 || options.max_rows > (1 << 20)) return out_of_range("max_rows", options.max_rows);
  if (options.max_logit_rows < 1 || options.max_logit_rows > options.max_rows)
    return out_of_range("max_logit_rows", options.max_logit_rows);
  if (options.first_layers < 0 || options.first_layers > config.layers)
    return out_of_range("first_layers", options.first_layers);
  if (options.max_kept_rows < 0 || options.max_kept_rows > (1 << 20))
    return out_of_range("max_kept_rows", options.max_kept_rows);
  if (options.max_positions < 1 || options.max_positions > config.max_positions)
    return monitoring::fail(Errc::configuration, "max_positions = " + std::to_string(options.max_positions) +
                                                     ": the model has max_position_embeddings = " +
                                                     std::to_string(config.max_positions));
  return {};
}

}  // namespace leadline::worker
