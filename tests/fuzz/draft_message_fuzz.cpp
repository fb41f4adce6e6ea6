// What rank 0 decides about a pass's rows: whatever the bytes are, what comes out can be run, and is written
// back the same. The first byte is the number of rows that the reader expects.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "monitoring/check.h"
#include "worker/speculative/draft_message.h"

using namespace leadline::worker;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr std::int32_t kVocab = 4096, kLayers = 12;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  const auto choices = draft_choices_from_bytes(bytes, data[0], kVocab, kLayers);
  if (!choices) {
    LEADLINE_CHECK(!choices.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  LEADLINE_CHECK(choices->size() == data[0], "one choice a row");
  for (const DraftChoice& choice : *choices) {
    const bool runs = choice.step == DraftStep::go_on || choice.step == DraftStep::keep_and_stop;
    LEADLINE_CHECK(!runs || (choice.token >= 0 && choice.token < kVocab), "a token that can be run");
    LEADLINE_CHECK(choice.step != DraftStep::climb || (choice.exit >= 1 && choice.exit < kLayers), "an exit");
  }
  const auto again = draft_choices_to_bytes(*choices);
  LEADLINE_CHECK(std::ranges::equal(again, bytes), "written as it was read");
  return 0;
}
