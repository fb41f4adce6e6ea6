#pragma once
// DraftMessage: what the rank that holds the logits decided about the rows of one pass, for all ranks. Small
// and bounded: 8 bytes a row, the number of rows known to every rank before. Not the plan. Thread: values.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/errc.h"

namespace leadline::worker {

enum class DraftStep : std::uint8_t {
  stop = 0,           // no further pass: verify what ran
  go_on = 1,          // run `token`, then ask again
  keep_and_stop = 2,  // run `token`, then verify
  climb = 3,          // pass 1 goes on to layer `exit`
};

struct DraftChoice {
  DraftStep step = DraftStep::stop;
  std::int32_t token = 0;  // of go_on and keep_and_stop
  std::int32_t exit = 0;   // of climb
  friend bool operator==(const DraftChoice&, const DraftChoice&) = default;
};

inline constexpr std::size_t kDraftChoiceBytes = 8;  // u8 step, u8 0, u16 exit, i32 token; little endian

std::vector<std::byte> draft_choices_to_bytes(std::span<const DraftChoice> choices);

// malformed_file with field and value: a wrong length, an unknown step, a token outside [0, vocab) where one
// is run, an exit outside [1, layers) where one is named.
Result<std::vector<DraftChoice>> draft_choices_from_bytes(std::span<const std::byte> bytes, std::size_t rows,
                                                          std::int32_t vocab, std::int32_t layers);

}  // namespace leadline::worker
