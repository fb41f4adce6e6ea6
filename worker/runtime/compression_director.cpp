#include "worker/runtime/compression_director.h"

#include <algorithm>
#include <cstdio>

#include "monitoring/check.h"
#include "worker/kvcache/kv_layout.h"

namespace leadline::worker {
namespace {

tl::unexpected<Error> refuse(std::string message) {
  return monitoring::fail(Errc::configuration, std::move(message));
}

// What fixes an append-class chain besides its tokens and the model (exactness X7).
std::string chain_of(const CompressionParams& p, std::string_view method) {
  char text[160];
  std::snprintf(text, sizeof text, "%.*s/1 threshold %a segment %u delay %u first %u prefix %u",
                static_cast<int>(method.size()), method.data(), static_cast<double>(p.threshold),
                kSegmentTokens, kSegmentDelay, p.pins.first, p.pins.prefix);
  return text;
}

// A segment's part of the sequence's pins; X4's schedule is its recent window.
CompressionPins segment_pins(const CompressionPins& pins, std::uint32_t segment) {
  const std::uint32_t before = segment * kSegmentTokens;
  return {.first = segment == 0 ? pins.first : 0,
          .recent = 0,
          .prefix = pins.prefix > before ? std::min(pins.prefix - before, kSegmentTokens) : 0};
}

std::string wrong_wish(const transport::KvWish& wish, const CompressionMethod& method) {
  const bool shaped = wish.budget > 0 || wish.budget_tokens > 0;
  if (wish.budget < 0 || wish.budget > 1)
    return "kv.budget is " + std::to_string(wish.budget) + ", allowed are (0, 1]";
  if (!wish.threshold) return {};
  if (!method.traits.by_threshold)
    return "kv.threshold: " + std::string(method.name) + " has none, give a budget";
  if (shaped) return "kv.threshold and a budget exclude each other";
  if (!(*wish.threshold >= -1 && *wish.threshold <= 1))
    return "kv.threshold is " + std::to_string(*wish.threshold) + ", allowed are -1 to 1";
  return {};
}

}  // namespace

Result<std::optional<CompressionParams>> compression_of(const transport::KvWish& wish,
                                                        std::uint32_t prompt_tokens,
                                                        const CompressionRules& rules) {
  const std::string name = wish.compression.empty() ? rules.default_method : wish.compression;
  if (name == "exact" || name == "full") return std::nullopt;
  const CompressionMethod* method = find_method(name);
  if (method == nullptr) return refuse("kv.compression is " + name + ", known are exact, " + method_names());
  if (!rules.unavailable.empty()) return refuse("kv.compression " + name + ": " + rules.unavailable);
  if (std::string wrong = wrong_wish(wish, *method); !wrong.empty()) return refuse(std::move(wrong));
  CompressionParams params;
  params.method = static_cast<std::uint8_t>(method - compression_methods().data());
  params.pins = rules.pins;
  params.pins.prefix = wish.pinned_prefix;
  params.by_threshold = params.append = wish.threshold.has_value();
  params.threshold = wish.threshold.value_or(1);
  params.tokens = wish.budget_tokens;
  params.ratio = wish.threshold || wish.budget_tokens > 0 ? 1
                 : wish.budget > 0                        ? wish.budget
                                                          : rules.default_budget;
  if (keeps_everything(*method, params, prompt_tokens)) return std::nullopt;
  const std::uint32_t at_once = params.append ? kSegmentTokens : prompt_tokens;
  const std::uint32_t bound = compressed_bound(*method, params, at_once, rules.layers);
  if (pages_for_slots(prompt_tokens) + bound + 1 > rules.total_pages)
    return refuse("kv.compression: the prompt and its compressed form need " +
                  std::to_string(pages_for_slots(prompt_tokens) + bound + 1) +
                  " pages at once, the pool has " + std::to_string(rules.total_pages));
  return params;
}

// WindowKV's observation window is half as long where all of a text is asked about (2503.17922, section 4.1).
void CompressionDirector::ask_task(std::span<const std::int32_t> prompt, CompressionParams& params) const {
  constexpr std::uint32_t kAggregationWindow = 16;
  const WindowTask task = rules_.tasks ? rules_.tasks->classify(prompt) : WindowTask::localisation;
  params.task = static_cast<std::uint8_t>(task);
  if (task == WindowTask::localisation) return;
  params.window = std::min(params.window, kAggregationWindow);
  params.pins.recent = std::min(params.pins.recent, kAggregationWindow);
}

void CompressionDirector::add(SequenceId id, CompressionParams params, std::span<const std::int32_t> prompt) {
  State s;
  s.prompt_tokens = static_cast<std::uint32_t>(prompt.size());
  s.seed = compression_seed(prompt);
  s.params = params;
  if (compression_methods()[params.method].traits.by_task) ask_task(prompt, s.params);
  if (params.append) s.chain = chain_of(params, compression_methods()[params.method].name);
  LEADLINE_CHECK(sequences_.emplace(id, std::move(s)).second, "a sequence is added twice");
}

CacheRules CompressionDirector::cache_rules(SequenceId id) const {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return {};
  const State& s = it->second;
  CacheRules rules;
  rules.compression = s.chain;
  const std::uint8_t taps = method_of(s).traits.taps;
  if ((taps & kTapWindow) != 0)
    rules.longest_hit = s.prompt_tokens - window_rows(method_of(s), s.params, s.prompt_tokens);
  if ((taps & kTapColumns) != 0) rules.longest_hit = 0;
  return rules;
}

std::uint32_t CompressionDirector::cut(SequenceId id, std::uint32_t computed, std::uint32_t run) const {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return run;
  const State& s = it->second;
  std::uint32_t next = s.prompt_tokens;
  if (s.params.append) {  // the first change of visibility behind `computed`
    const std::uint32_t segments =
        computed < kSegmentTokens + kSegmentDelay ? 1 : (computed - kSegmentDelay) / kSegmentTokens + 1;
    next = segments * kSegmentTokens + kSegmentDelay;
  }
  return next > computed ? std::min(run, next - computed) : run;
}

RoundPlan CompressionDirector::cut(SequenceId id, std::uint32_t computed, RoundPlan round) const {
  if (round.max_draft == 0) return round;
  round.max_draft = static_cast<std::uint16_t>(cut(id, computed, 1U + round.max_draft) - 1);
  return round.max_draft == 0 ? RoundPlan{.shadows = round.shadows} : round;
}

// The next compression, if `computed` tokens ask for it.
std::optional<CompressSpan> CompressionDirector::due(const State& s, std::uint32_t computed) const {
  const CompressionMethod& method = method_of(s);
  if (!s.params.append) {
    if (s.done > 0 || computed < s.prompt_tokens) return std::nullopt;
    return CompressSpan{s.prompt_tokens, compressed_bound(method, s.params, s.prompt_tokens, rules_.layers),
                        true};
  }
  if (computed < (s.done + 1) * kSegmentTokens + kSegmentDelay) return std::nullopt;
  return CompressSpan{kSegmentTokens, compressed_bound(method, s.params, kSegmentTokens, rules_.layers),
                      false};
}

bool CompressionDirector::prepare(SequenceId id, std::span<const std::int32_t> tokens, SequenceCache& cache,
                                  StepPlan& plan) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return true;
  State& s = it->second;
  while (const std::optional<CompressSpan> span = due(s, cache.computed(id))) {
    CompressPages pages;
    const std::uint32_t first = cache.compressed_tokens(id);
    if (!cache.begin_compress(id, *span, pages)) {
      missing_pages_ += span->bound;
      return false;
    }
    CompressStep step;
    step.sequence = id;
    step.from = std::move(pages.from);
    step.to = std::move(pages.to);
    step.tokens = span->tokens;
    step.seed = s.seed;
    step.params = s.params;
    if (s.params.append) step.params.pins = segment_pins(s.params.pins, s.done);
    if (!rules_.delimiters.empty() && (method_of(s).traits.taps & kTapTokens) != 0)
      for (std::uint32_t i = 0; i < span->tokens; ++i)
        step.delimiters.push_back(rules_.delimiters[static_cast<std::size_t>(tokens[first + i])]);
    plan.compress.push_back(std::move(step));
    ++s.done;
  }
  return true;
}

void CompressionDirector::describe(SequenceStep& rows) const {
  const auto it = sequences_.find(rows.sequence);
  if (it == sequences_.end() || it->second.done > 0) return;
  const State& s = it->second;
  const std::uint8_t taps = method_of(s).traits.taps & (kTapWindow | kTapColumns);
  if (taps == 0 || rows.first_position >= s.prompt_tokens) return;
  rows.taps = taps;
  rows.tap_from = s.prompt_tokens - window_rows(method_of(s), s.params, s.prompt_tokens);
  rows.tap_end = s.prompt_tokens;
}

void CompressionDirector::settle(const StepResult& result, SequenceCache& cache) {
  for (const CompressOutcome& outcome : result.compressed) {
    cache.end_compress(outcome.sequence, outcome.pages);
    if (const auto it = sequences_.find(outcome.sequence); it != sequences_.end()) {
      const auto& slots = metrics_.compression_slots[it->second.params.method];
      slots[CompressedSlots::seen].inc(static_cast<double>(outcome.lists) * outcome.tokens);
      slots[CompressedSlots::kept].inc(static_cast<double>(outcome.slots));
    }
    metrics_.compression.observe(static_cast<double>(outcome.us) * 1e-6);
    if (rules_.observe) rules_.observe(outcome);
  }
  if (!result.compressed.empty()) count_compressed();
}

void CompressionDirector::count_compressed() const {
  const auto n =
      std::count_if(sequences_.begin(), sequences_.end(), [](const auto& s) { return s.second.done > 0; });
  metrics_.compressed_sequences.set(static_cast<double>(n));
}

void CompressionDirector::drop(SequenceId id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  it->second.done = 0;
  forget_.push_back(id);
  count_compressed();
}

void CompressionDirector::remove(SequenceId id) {
  if (sequences_.erase(id) == 0) return;
  forget_.push_back(id);
  count_compressed();
}

}  // namespace leadline::worker
