#pragma once
// FetchHindsight: whether computing what a tier had would better have been a fetch. Remembers the parts of
// hits that were passed over and adds up what computing them took; the other side of the fetcher's regret.
// Not a choice (kvstore/fetch_chooser). Pure: times are arguments. Thread: the step thread. Invariants: at
// most one part per sequence; forgotten once it is computed or its sequence is.

#include <cstdint>
#include <map>
#include <optional>

#include "worker/sequence_id.h"

namespace leadline::worker {

class FetchHindsight {
 public:
  // Tokens [from, to) of the prompt lie in tiers and will be computed; fetching them was expected to take
  // fetch_s. REQUIRES from < to.
  void passed_over(SequenceId id, std::uint32_t from, std::uint32_t to, double fetch_s);
  // `rows` tokens from `first` on took `seconds`. Once the part is computed: by how much that was longer than
  // fetching was expected to be, 0 if it was not. Tokens that turned up on the device after all count on
  // neither side.
  std::optional<double> computed(SequenceId id, std::uint32_t first, std::uint32_t rows, double seconds);
  void forget(SequenceId id) { parts_.erase(id); }
  [[nodiscard]] bool watches() const { return !parts_.empty(); }

 private:
  struct Part {
    std::uint32_t from = 0, to = 0, tokens = 0;  // tokens: of it, computed so far
    double fetch_s = 0, computed_s = 0;
  };
  std::map<SequenceId, Part> parts_;
};

}  // namespace leadline::worker
