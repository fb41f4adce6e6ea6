#pragma once
// Acceptance: which rows of a round stand. Not sampling: the model's own token of a row comes from the
// caller, who draws it with that row's own prefix and noise (exactness X3). A draft stands exactly if it
// equals the model's own token at its position; so an answer is that of plain decoding, token for token,
// sampled too. Thread: any; pure.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace leadline::worker {

struct OwnToken {
  std::int32_t token = 0;
  bool last =
      false;  // the sequence ends with it (a stop id, its length, no candidate): no further row counts
};

// inputs[0] is the last committed token, inputs[j] draft j: row j ran inputs[j] and says what comes after it.
// Row 0 always stands; row j stands if every draft up to j equals the own token of the row before it and the
// sequence has not ended. own(j) is asked once for every row that stands, in order, and for no other. Returns
// how many stand: as many tokens are won, and as many inputs have KV that stays.
std::size_t settle_round(std::span<const std::int32_t> inputs,
                         const std::function<OwnToken(std::size_t row)>& own);

}  // namespace leadline::worker
