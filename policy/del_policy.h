#pragma once
// DEL (arXiv 2504.05598): exit and length from decayed counts of shadow tokens, stopping by confidence. Needs
// no training and no file, but one head per exit at every verified row (PolicyNeeds::shadows). The baseline
// for learned exits. Not its code: written from seed_methods section 4.2. Thread: any.

#include <memory>

#include "policy/exit_policy.h"

namespace leadline::policy {

// Round: alpha_l = match / (match + miss); the l and g with the most tokens per layer,
// [(1 - alpha^(g+1)) / (1 - alpha)] / (L + g l). After a draft: one with confidence below the middle between
// the mean confidences of matches and of misses is the last, and kept. The first round drafts one token at
// the first exit.
[[nodiscard]] std::unique_ptr<ExitPolicy> make_del_policy();

}  // namespace leadline::policy
