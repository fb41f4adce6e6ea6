#include "worker/scheduler/step_plan.h"

#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

#include "monitoring/check.h"

namespace leadline::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "plans are copied as they lie in memory");
constexpr std::uint32_t kMagic = 0x3650534C;  // "LSP6"
constexpr std::uint64_t kSlotsPerPage = 16;

class Writer {
 public:
  template <typename T>
  void value(T v) {
    raw(&v, sizeof v);
  }
  template <typename T>
  void list(const std::vector<T>& values, std::uint32_t limit) {
    static_assert(std::has_unique_object_representations_v<T>);
    LEADLINE_CHECK(values.size() <= limit, "a step plan beyond its limits");
    value(static_cast<std::uint32_t>(values.size()));
    raw(values.data(), values.size() * sizeof(T));
  }
  std::vector<std::byte> bytes;

 private:
  void raw(const void* data, std::size_t n) {
    if (n == 0) return;
    const std::size_t at = bytes.size();
    bytes.resize(at + n);
    std::memcpy(bytes.data() + at, data, n);
  }
};

// Reads or remembers the first thing that is wrong; after that every read gives nothing.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  template <typename T>
  T value(const char* field) {
    T v{};
    if (left_.size() < sizeof v) {
      wrong(field, "is cut short", left_.size());
      return v;
    }
    std::memcpy(&v, left_.data(), sizeof v);
    left_ = left_.subspan(sizeof v);
    return v;
  }
  bool flag(const char* field) {
    const auto v = value<std::uint8_t>(field);
    if (v > 1) wrong(field, "is", v);
    return v == 1;
  }
  std::uint32_t count(const char* field, std::uint32_t limit) {
    const auto n = value<std::uint32_t>(field);
    if (n > limit) wrong(field, "has too many entries:", n);
    return failed() ? 0 : n;
  }
  template <typename T>
  void list(std::vector<T>& out, const char* field, std::uint32_t limit) {
    const std::uint64_t n = count(field, limit), bytes = n * sizeof(T);
    if (bytes > left_.size()) wrong(field, "is longer than the bytes left, entries:", n);
    if (failed() || n == 0) return;
    out.resize(n);
    std::memcpy(out.data(), left_.data(), bytes);
    left_ = left_.subspan(bytes);
  }
  void wrong(const char* field, const char* what, std::uint64_t number) {
    if (!failed()) error_ = std::string("step plan: ") + field + " " + what + " " + std::to_string(number);
  }
  [[nodiscard]] bool failed() const { return !error_.empty(); }
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] std::size_t left() const { return left_.size(); }

 private:
  std::span<const std::byte> left_;
  std::string error_;
};

void write_sequence(Writer& w, const SequenceStep& s) {
  w.value(s.sequence.value);
  w.value(s.first_position);
  w.value(s.kv_before);
  w.value(static_cast<std::uint8_t>(s.logits));
  w.value(s.round.exit);
  w.value(s.round.max_draft);
  w.value(static_cast<std::uint8_t>(s.round.climb));
  w.value(static_cast<std::uint8_t>(s.round.shadows));
  w.list(s.tokens, kMaxPlanTokens);
  w.list(s.table, kMaxPlanTablePages);
  w.value(s.taps);
  w.value(s.tap_from);
  w.value(s.tap_end);
}

void write_params(Writer& w, const CompressionParams& p) {
  w.value(p.method);
  w.value(p.ratio);
  w.value(p.tokens);
  w.value(static_cast<std::uint8_t>(p.by_threshold));
  w.value(p.threshold);
  w.value(p.window);
  w.value(p.task);
  w.value(static_cast<std::uint8_t>(p.append));
  w.value(p.pins.first);
  w.value(p.pins.recent);
  w.value(p.pins.prefix);
}

CompressionParams read_params(Reader& r) {
  CompressionParams p;
  p.method = r.value<std::uint8_t>("method");
  p.ratio = r.value<float>("ratio");
  p.tokens = r.value<std::uint32_t>("budget tokens");
  p.by_threshold = r.flag("by_threshold");
  p.threshold = r.value<float>("threshold");
  p.window = r.value<std::uint32_t>("window");
  p.task = r.value<std::uint8_t>("task");
  p.append = r.flag("append");
  p.pins.first = r.value<std::uint32_t>("pinned first");
  p.pins.recent = r.value<std::uint32_t>("pinned recent");
  p.pins.prefix = r.value<std::uint32_t>("pinned prefix");
  return p;
}

void write_compression(Writer& w, const CompressStep& c) {
  w.value(c.sequence.value);
  w.list(c.from, kMaxPlanTablePages);
  w.list(c.to, kMaxPlanTablePages);
  w.value(c.tokens);
  w.value(c.seed);
  w.list(c.delimiters, kMaxPlanTokens);
  write_params(w, c.params);
}

CompressStep read_compression(Reader& r) {
  CompressStep c;
  c.sequence = SequenceId{r.value<std::uint64_t>("compressed sequence")};
  r.list(c.from, "from", kMaxPlanTablePages);
  r.list(c.to, "to", kMaxPlanTablePages);
  c.tokens = r.value<std::uint32_t>("compressed tokens");
  c.seed = r.value<std::uint64_t>("seed");
  r.list(c.delimiters, "delimiters", kMaxPlanTokens);
  c.params = read_params(r);
  if (c.tokens == 0 || c.tokens > c.from.size() * kSlotsPerPage)
    r.wrong("from", "does not hold as many tokens:", c.tokens);
  if (!c.delimiters.empty() && c.delimiters.size() != c.tokens)
    r.wrong("delimiters", "are not as many as tokens:", c.delimiters.size());
  return c;
}

RoundPlan read_round(Reader& r) {
  RoundPlan round;
  round.exit = r.value<std::uint16_t>("round.exit");
  round.max_draft = r.value<std::uint16_t>("round.max_draft");
  round.climb = r.flag("round.climb");
  round.shadows = r.flag("round.shadows");
  if (round.max_draft > kMaxPlanDraft) r.wrong("round.max_draft", "is", round.max_draft);
  if ((round.exit == 0) != (round.max_draft == 0)) r.wrong("round.exit", "is", round.exit);
  return round;
}

SequenceStep read_sequence(Reader& r) {
  SequenceStep s;
  s.sequence = SequenceId{r.value<std::uint64_t>("sequence")};
  s.first_position = r.value<std::uint32_t>("first_position");
  s.kv_before = r.value<std::uint32_t>("kv_before");
  const auto logits = r.value<std::uint8_t>("logits");
  if (logits > static_cast<std::uint8_t>(LogitsWanted::all)) r.wrong("logits", "is", logits);
  s.logits = static_cast<LogitsWanted>(logits);
  s.round = read_round(r);
  r.list(s.tokens, "tokens", kMaxPlanTokens);
  r.list(s.table, "table", kMaxPlanTablePages);
  s.taps = r.value<std::uint8_t>("taps");
  s.tap_from = r.value<std::uint32_t>("tap_from");
  s.tap_end = r.value<std::uint32_t>("tap_end");
  if (s.tokens.empty()) r.wrong("tokens", "is empty, sequence", s.sequence.value);
  if ((s.round.max_draft > 0 || s.round.shadows) && (s.tokens.size() != 1 || s.logits != LogitsWanted::last))
    r.wrong("round", "is of rows:", s.tokens.size());
  const std::uint64_t slots = std::uint64_t{s.kv_before} + s.tokens.size() + s.round.max_draft;
  if (slots > s.table.size() * kSlotsPerPage) r.wrong("table", "is too short for slots:", slots);
  if (std::uint64_t{s.first_position} + s.tokens.size() + s.round.max_draft > UINT32_MAX)
    r.wrong("first_position", "is", s.first_position);
  return s;
}

void write_blocks(Writer& w, const BlockPlan& b) {
  w.list(b.seals, kMaxPlanMoves);
  w.list(b.restores, kMaxPlanMoves);
  w.list(b.polls, kMaxPlanMoves);
  w.list(b.drops, kMaxPlanMoves);
  w.value(b.page_us);
  w.value(b.page_growth_ns);
  LEADLINE_CHECK(b.starts.size() <= kMaxPlanSequences, "a step plan beyond its limits");
  w.value(static_cast<std::uint32_t>(b.starts.size()));
  for (const BlockFetchStart& start : b.starts) {
    w.value(start.fetch);
    w.value(start.first_depth);
    w.value(start.deadline_us);
    w.value(start.parent);
    w.list(start.keys, kMaxPlanTablePages);
  }
}

void read_blocks(Reader& r, BlockPlan& b) {
  r.list(b.seals, "seals", kMaxPlanMoves);
  r.list(b.restores, "restores", kMaxPlanMoves);
  r.list(b.polls, "polls", kMaxPlanMoves);
  r.list(b.drops, "drops", kMaxPlanMoves);
  b.page_us = r.value<std::uint32_t>("page_us");
  b.page_growth_ns = r.value<std::uint32_t>("page_growth_ns");
  const std::uint32_t starts = r.count("starts", kMaxPlanSequences);
  for (std::uint32_t i = 0; i < starts && !r.failed(); ++i) {
    BlockFetchStart& start = b.starts.emplace_back();
    start.fetch = r.value<std::uint32_t>("fetch");
    start.first_depth = r.value<std::uint32_t>("first_depth");
    start.deadline_us = r.value<std::uint32_t>("deadline");
    start.parent = r.value<kvstore::BlockKey>("parent");
    r.list(start.keys, "keys", kMaxPlanTablePages);
  }
}

}  // namespace

std::vector<std::byte> to_bytes(const StepPlan& plan) {
  Writer w;
  w.value(kMagic);
  w.value(plan.step);
  w.list(plan.quantise, kMaxPlanMoves);
  w.list(plan.swap_out, kMaxPlanMoves);
  w.list(plan.swap_in, kMaxPlanMoves);
  w.list(plan.copies, kMaxPlanMoves);
  w.list(plan.forget, kMaxPlanMoves);
  LEADLINE_CHECK(plan.compress.size() <= kMaxPlanCompressions, "a step plan beyond its limits");
  w.value(static_cast<std::uint32_t>(plan.compress.size()));
  for (const CompressStep& c : plan.compress) write_compression(w, c);
  LEADLINE_CHECK(plan.sequences.size() <= kMaxPlanSequences, "a step plan beyond its limits");
  w.value(static_cast<std::uint32_t>(plan.sequences.size()));
  for (const SequenceStep& s : plan.sequences) write_sequence(w, s);
  write_blocks(w, plan.blocks);
  return std::move(w.bytes);
}

Result<StepPlan> step_plan_from_bytes(std::span<const std::byte> bytes) {
  Reader r(bytes);
  StepPlan plan;
  if (const auto magic = r.value<std::uint32_t>("magic"); magic != kMagic) r.wrong("magic", "is", magic);
  plan.step = r.value<std::uint64_t>("step");
  r.list(plan.quantise, "quantise", kMaxPlanMoves);
  r.list(plan.swap_out, "swap_out", kMaxPlanMoves);
  r.list(plan.swap_in, "swap_in", kMaxPlanMoves);
  r.list(plan.copies, "copies", kMaxPlanMoves);
  r.list(plan.forget, "forget", kMaxPlanMoves);
  const std::uint32_t compressions = r.count("compress", kMaxPlanCompressions);
  for (std::uint32_t i = 0; i < compressions && !r.failed(); ++i)
    plan.compress.push_back(read_compression(r));
  const std::uint32_t sequences = r.count("sequences", kMaxPlanSequences);
  for (std::uint32_t i = 0; i < sequences && !r.failed(); ++i) plan.sequences.push_back(read_sequence(r));
  read_blocks(r, plan.blocks);
  if (r.left() != 0) r.wrong("end", "has bytes left over:", r.left());
  if (r.failed()) return monitoring::fail(Errc::malformed_file, r.error());
  return plan;
}

}  // namespace leadline::worker
