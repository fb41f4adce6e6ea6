#include "worker/runtime/token_chooser.h"

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::worker {

void TokenChooser::begin(ConstFloatMatrix logits) {
  logits_ = logits;
  chosen_.clear();
  rows_.clear();
  edits_.clear();
  place_.clear();
}

void TokenChooser::sample_here(std::int32_t logit_row, SamplingRow row, const SamplingParams& params,
                               bool probe) {
  row_logits_.resize(static_cast<std::size_t>(logits_.cols));
  backend_.download(row_logits_.data(), logits_.row(logit_row), logits_.cols * std::int64_t{sizeof(float)});
  row.logits = row_logits_;
  ChosenRow& chosen = chosen_.back();
  chosen.row = sample(row, params, scratch_);
  const auto allowed = static_cast<std::size_t>(std::clamp<std::int64_t>(row.allowed_vocab, 0, logits_.cols));
  if (probe && !chosen.row.no_candidate)
    chosen.reading = policy::read_probe(row.logits.first(allowed), chosen.row.token);
}

void TokenChooser::add(std::int32_t logit_row, const SamplingRow& row, const SamplingParams& params,
                       bool probe) {
  chosen_.emplace_back();
  if (!append_choice(row, params, logit_row, rows_, edits_))
    return sample_here(logit_row, row, params, probe);
  rows_.back().probe = probe ? 1 : 0;
  place_.push_back(chosen_.size() - 1);
}

std::span<ChosenRow> TokenChooser::choose() {
  choices_.resize(rows_.size());
  LEADLINE_CHECK(backend_.choose_tokens(logits_, rows_, edits_, choices_), "the device chooses tokens");
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const TokenChoice& c = choices_[i];
    ChosenRow& chosen = chosen_[place_[i]];
    chosen.row = sampled_of(c, rows_[i].top_logprobs >= 0);
    if (rows_[i].probe == 0 || chosen.row.no_candidate) continue;
    policy::ProbeSums sums;
    std::copy_n(c.probe_top, kProbeTop, sums.top.begin());
    sums.mass = c.mass;
    sums.weighted = c.weighted;
    sums.drawn = c.drawn;
    chosen.reading = policy::reading_of(sums);
  }
  return chosen_;
}

}  // namespace leadline::worker
