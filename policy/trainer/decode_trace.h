#pragma once
// DecodeTrace: what the model and every one of its exits said along a finished answer, so that any policy can
// be replayed over it exactly: no model is needed again. Not a log of decisions (policy/trajectory_log).
// Recorded by deploy/cli/trace_recorder. Thread: values; files are read and written by one.
//
// Position i of an answer is the row that ran token i-1 (i = 0: the prompt's last) and gave token i. An
// exit's reading at i is its distribution over token i with the true tokens before it; its draft there was
// drawn with the request's own noise (X3), and matches or not. A draft that does not match is followed by
// others on a wrong prefix: their readings are the branch at i.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/errc.h"
#include "policy/exit_features.h"

namespace leadline::policy {

struct ExitTrace {                     // of one candidate exit along one answer
  std::vector<std::uint8_t> matches;   // (tokens)
  std::vector<ProbeReading> readings;  // (tokens)
  std::vector<std::int32_t> branch;    // (tokens) index of the branch, -1 where the draft matches
  std::vector<ProbeReading> branches;  // (branches, max_draft - 1)
};

// What a prompt may be used for: to learn from; to choose by; for the final numbers, which nothing was chosen
// on.
enum class Split : std::uint8_t { train = 0, selection = 1, held_out = 2 };
inline constexpr std::array<std::string_view, 3> kSplitNames = {"train", "selection", "held-out"};
[[nodiscard]] std::optional<Split> split_of(std::string_view name);

struct AnswerTrace {
  std::string task;
  Split split = Split::train;
  float temperature = 0;
  std::int32_t prompt_tokens = 0;
  std::vector<std::int32_t> tokens;               // at least kLeastAnswerTokens
  std::vector<float> target_top1, target_margin;  // (tokens) of the model's own distribution
  std::vector<ExitTrace> exits;
};

struct DecodeTrace {
  std::int32_t layers = 0, max_draft = 0;
  std::vector<std::int32_t> exits;
  std::string fingerprint;  // of the model that answered
  std::vector<AnswerTrace> answers;
};

inline constexpr std::uint32_t kLeastAnswerTokens = 2;  // the prompt's own step gives one, rounds the rest

struct TraceLimits {
  std::uint32_t answers = 1 << 16, tokens = 1 << 14, layers = 4096, name_bytes = 256;
};

Result<void> save_trace(const DecodeTrace& trace, const std::string& path);
// malformed_file with the field, or io.
Result<DecodeTrace> load_trace(const std::string& path, const TraceLimits& limits = {});

}  // namespace leadline::policy
