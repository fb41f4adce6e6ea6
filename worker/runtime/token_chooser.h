#pragma once
// TokenChooser: the tokens of a step whose logits lie on a device: one launch for all rows and one small copy
// back; a row that is too much for the device is copied and sampled on the host. Not a definition of sampling
// (worker/sampling). Thread: the step thread. Invariant: where a row is sampled changes no token.

#include <span>
#include <vector>

#include "policy/exit_features.h"
#include "worker/backend/backend.h"
#include "worker/sampling/choice_request.h"
#include "worker/sampling/sampler.h"

namespace leadline::worker {

struct ChosenRow {
  SampledRow row;
  policy::ProbeReading reading;  // of the allowed logits, where it was asked for
};

class TokenChooser {
 public:
  explicit TokenChooser(Backend& backend) : backend_(backend) {}
  void begin(ConstFloatMatrix logits);
  // One row of `logits`; `row` (without logits) is not kept.
  void add(std::int32_t logit_row, const SamplingRow& row, const SamplingParams& params, bool probe);
  // One answer per row in the order of adding, valid until begin.
  std::span<ChosenRow> choose();

 private:
  void sample_here(std::int32_t logit_row, SamplingRow row, const SamplingParams& params, bool probe);

  Backend& backend_;
  // Of one step.
  ConstFloatMatrix logits_;
  std::vector<ChosenRow> chosen_;
  std::vector<TokenChoiceRow> rows_;
  std::vector<LogitEdit> edits_;
  std::vector<std::size_t> place_;  // in chosen_, of each of rows_
  std::vector<TokenChoice> choices_;
  SamplerScratch scratch_;
  std::vector<float> row_logits_;
};

}  // namespace leadline::worker
