#pragma once
// PostProcessor: the special tokens around a whole sequence (bos, eos), as templates give them. Not the chat
// markup, which chat_template writes as text. Thread: immutable.

#include <vector>

#include "transport/control/ids.h"

namespace leadline::coordinator {

using transport::TokenId;

// One template: tokens before and behind the sequence. A list of them is applied from the first to the last,
// outwards.
struct SequenceTemplate {
  std::vector<TokenId> before, after;
};

struct PostProcessor {
  std::vector<TokenId> before, after;

  void wrap(const SequenceTemplate& outer) {
    before.insert(before.begin(), outer.before.begin(), outer.before.end());
    after.insert(after.end(), outer.after.begin(), outer.after.end());
  }
};

}  // namespace leadline::coordinator
