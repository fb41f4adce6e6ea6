#include "worker/speculative/draft_message.h"

#include <cstring>
#include <string>

namespace leadline::worker {
namespace {

tl::unexpected<Error> wrong(const char* field, std::int64_t value) {
  return monitoring::fail(Errc::malformed_file,
                          std::string("draft message: ") + field + " is " + std::to_string(value));
}

}  // namespace

std::vector<std::byte> draft_choices_to_bytes(std::span<const DraftChoice> choices) {
  std::vector<std::byte> bytes(choices.size() * kDraftChoiceBytes);
  std::byte* at = bytes.data();
  for (const DraftChoice& choice : choices) {
    const auto exit = static_cast<std::uint16_t>(choice.exit);
    at[0] = static_cast<std::byte>(choice.step);
    std::memcpy(at + 2, &exit, sizeof exit);
    std::memcpy(at + 4, &choice.token, sizeof choice.token);
    at += kDraftChoiceBytes;
  }
  return bytes;
}

Result<std::vector<DraftChoice>> draft_choices_from_bytes(std::span<const std::byte> bytes, std::size_t rows,
                                                          std::int32_t vocab, std::int32_t layers) {
  if (rows != bytes.size() / kDraftChoiceBytes || bytes.size() % kDraftChoiceBytes != 0)
    return wrong("length", static_cast<std::int64_t>(bytes.size()));
  std::vector<DraftChoice> choices(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    const std::byte* at = bytes.data() + i * kDraftChoiceBytes;
    const auto step = static_cast<std::uint8_t>(at[0]);
    std::uint16_t exit = 0;
    std::memcpy(&exit, at + 2, sizeof exit);
    DraftChoice& choice = choices[i];
    std::memcpy(&choice.token, at + 4, sizeof choice.token);
    choice.exit = exit;
    if (step > static_cast<std::uint8_t>(DraftStep::climb)) return wrong("step", step);
    if (at[1] != std::byte{0}) return wrong("byte 1", std::to_integer<std::int64_t>(at[1]));
    choice.step = static_cast<DraftStep>(step);
    const bool runs = choice.step == DraftStep::go_on || choice.step == DraftStep::keep_and_stop;
    if (runs && (choice.token < 0 || choice.token >= vocab)) return wrong("token", choice.token);
    if (choice.step == DraftStep::climb && (exit < 1 || exit >= layers)) return wrong("exit", exit);
  }
  return choices;
}

}  // namespace leadline::worker
