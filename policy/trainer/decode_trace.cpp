#include "policy/trainer/decode_trace.h"

#include "policy/byte_file.h"

namespace leadline::policy {
namespace {

constexpr std::uint64_t kMagic = 0x32454341'52544C4CULL;  // "LLTRACE2"
constexpr std::size_t kFileLimit = std::size_t{4} << 30;

void put_answer(ByteWriter& out, const AnswerTrace& answer) {
  out.put_text(answer.task);
  out.put(static_cast<std::uint8_t>(answer.split));
  out.put(answer.temperature);
  out.put(answer.prompt_tokens);
  out.put(static_cast<std::uint32_t>(answer.tokens.size()));
  out.put_all(std::span(answer.tokens));
  out.put_all(std::span(answer.target_top1));
  out.put_all(std::span(answer.target_margin));
  for (const ExitTrace& exit : answer.exits) {
    out.put_all(std::span(exit.matches));
    out.put_all(std::span(exit.readings));
    out.put_all(std::span(exit.branch));
    out.put(static_cast<std::uint32_t>(exit.branches.size()));
    out.put_all(std::span(exit.branches));
  }
}

// Whether every mismatch has its branch within what was recorded.
bool whole(const ExitTrace& exit, std::size_t per_branch) {
  if (per_branch > 0 && exit.branches.size() % per_branch != 0) return false;
  const std::size_t branches = per_branch == 0 ? SIZE_MAX : exit.branches.size() / per_branch;
  for (std::size_t i = 0; i < exit.matches.size(); ++i) {
    if (exit.matches[i] != 0) continue;
    if (exit.branch[i] < 0 || static_cast<std::size_t>(exit.branch[i]) >= branches) return false;
  }
  return true;
}

bool get_answer(ByteReader& in, const DecodeTrace& trace, const TraceLimits& limits, AnswerTrace& answer) {
  answer.task = in.get_text(limits.name_bytes);
  const auto split = in.get<std::uint8_t>();
  if (split >= kSplitNames.size()) return false;
  answer.split = static_cast<Split>(split);
  answer.temperature = in.get<float>();
  answer.prompt_tokens = in.get<std::int32_t>();
  const std::size_t tokens = in.get<std::uint32_t>();
  if (!in.ok() || tokens < kLeastAnswerTokens || tokens > limits.tokens) return false;
  answer.tokens = in.get_vector<std::int32_t>(tokens);
  answer.target_top1 = in.get_vector<float>(tokens);
  answer.target_margin = in.get_vector<float>(tokens);
  answer.exits.resize(trace.exits.size());
  for (ExitTrace& exit : answer.exits) {
    exit.matches = in.get_vector<std::uint8_t>(tokens);
    exit.readings = in.get_vector<ProbeReading>(tokens);
    exit.branch = in.get_vector<std::int32_t>(tokens);
    exit.branches = in.get_vector<ProbeReading>(in.get<std::uint32_t>());
    if (!in.ok() || !whole(exit, static_cast<std::size_t>(trace.max_draft - 1))) return false;
  }
  return in.ok();
}

}  // namespace

std::optional<Split> split_of(std::string_view name) {
  for (std::size_t i = 0; i < kSplitNames.size(); ++i)
    if (kSplitNames[i] == name) return static_cast<Split>(i);
  return std::nullopt;
}

Result<void> save_trace(const DecodeTrace& trace, const std::string& path) {
  ByteWriter out;
  out.put(kMagic);
  out.put_text(trace.fingerprint);
  out.put(trace.layers);
  out.put(trace.max_draft);
  out.put(static_cast<std::uint32_t>(trace.exits.size()));
  out.put_all(std::span(trace.exits));
  out.put(static_cast<std::uint32_t>(trace.answers.size()));
  for (const AnswerTrace& answer : trace.answers) put_answer(out, answer);
  return write_file(path, out.bytes());
}

Result<DecodeTrace> load_trace(const std::string& path, const TraceLimits& limits) {
  auto bytes = read_file(path, kFileLimit);
  if (!bytes) return tl::unexpected(bytes.error());
  const auto malformed = [&](const std::string& what) {
    return monitoring::fail(Errc::malformed_file, path + ": " + what);
  };
  ByteReader in(*bytes);
  if (in.get<std::uint64_t>() != kMagic) return malformed("not a trace (magic)");
  DecodeTrace trace;
  trace.fingerprint = in.get_text(limits.name_bytes);
  trace.layers = in.get<std::int32_t>();
  trace.max_draft = in.get<std::int32_t>();
  const auto exits = in.get<std::uint32_t>();
  if (!in.ok() || trace.layers < 1 || trace.layers > static_cast<std::int32_t>(limits.layers))
    return malformed("layers = " + std::to_string(trace.layers));
  if (trace.max_draft < 1 || trace.max_draft > 64)
    return malformed("max_draft = " + std::to_string(trace.max_draft));
  if (exits > 32) return malformed("exits = " + std::to_string(exits));
  trace.exits = in.get_vector<std::int32_t>(exits);
  const auto answers = in.get<std::uint32_t>();
  if (!in.ok() || answers > limits.answers) return malformed("answers = " + std::to_string(answers));
  for (std::uint32_t i = 0; i < answers; ++i) {
    AnswerTrace answer;
    if (!get_answer(in, trace, limits, answer))
      return malformed("answer " + std::to_string(i) + " is damaged at byte " + std::to_string(in.offset()));
    trace.answers.push_back(std::move(answer));
  }
  return trace;
}

}  // namespace leadline::policy
