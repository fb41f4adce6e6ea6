#pragma once
// CompressionDirector: rank 0's side of KV compression: what a request may ask for, where its prompt is cut,
// and which compressions the next plan carries. Not the decision which slots stay (worker/compression) and
// not pages (SequenceCache). Thread: the step thread. Invariants:
//   1. When something is compressed is a function of the sequence's positions alone (exactness X4): a
//   snapshot
//      where the prompt ends, before the first generated token is run; with a fixed threshold, segment i when
//      the query at 256 (i + 1) + 64 comes, in prefill, decoding and replay alike.
//   2. A sequence whose ranks' lists are lost (dropped, ended) is named in the next plan's `forget`.
//   3. A budget of everything is no compression: nothing is registered, nothing copied.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "transport/control/messages.h"
#include "worker/compression/compression_policy.h"
#include "worker/compression/task_classifier.h"
#include "worker/kvcache/sequence_cache.h"
#include "worker/runtime/step_executor.h"
#include "worker/runtime/worker_metrics.h"

namespace leadline::worker {

inline constexpr std::uint32_t kSegmentTokens = 256, kSegmentDelay = 64;  // exactness X4: S and W

struct CompressionRules {
  std::string unavailable = "this worker was started without it";  // "" = available
  std::string default_method = "exact";                            // of requests that name none
  float default_budget = 0.35F;                                    // of requests that give none
  std::uint32_t layers = 0;
  std::uint32_t total_pages = 0;
  CompressionPins pins;
  std::vector<std::uint8_t> delimiters;  // per token id; empty: text is cut every 64 tokens only
  std::optional<TaskClassifier> tasks;   // what a prompt is about; none: localisation, always
  std::function<void(const CompressOutcome&)> observe;  // for tests
};

// What a request asks for; nothing = exact. configuration: names the field and its value.
Result<std::optional<CompressionParams>> compression_of(const transport::KvWish& wish,
                                                        std::uint32_t prompt_tokens,
                                                        const CompressionRules& rules);

class CompressionDirector {
 public:
  CompressionDirector(CompressionRules rules, WorkerMetrics& metrics)
      : rules_(std::move(rules)), metrics_(metrics) {}

  [[nodiscard]] Result<std::optional<CompressionParams>> ask(const transport::KvWish& wish,
                                                             std::uint32_t prompt_tokens) const {
    return compression_of(wish, prompt_tokens, rules_);
  }
  // From now on the sequence is compressed so. `prompt` as at acceptance.
  void add(SequenceId id, CompressionParams params, std::span<const std::int32_t> prompt);
  [[nodiscard]] CacheRules cache_rules(SequenceId id) const;
  // Tokens of `run` that may run now, so that none sees other slots than its position says.
  [[nodiscard]] std::uint32_t cut(SequenceId id, std::uint32_t computed, std::uint32_t run) const;
  // The same of a round, whose drafts come after one row: fewer, or none.
  [[nodiscard]] RoundPlan cut(SequenceId id, std::uint32_t computed, RoundPlan round) const;
  // Puts what is due into the plan. False: too few pages, the sequence cannot run in this step.
  [[nodiscard]] bool prepare(SequenceId id, std::span<const std::int32_t> tokens, SequenceCache& cache,
                             StepPlan& plan);
  // What the sequence's rows need besides: taps.
  void describe(SequenceStep& rows) const;
  // The plan was executed.
  void settle(const StepResult& result, SequenceCache& cache);
  // Its ranks' lists are worth nothing any more; it may be computed again.
  void drop(SequenceId id);
  void remove(SequenceId id);  // it ended
  void take_forgotten(StepPlan& plan) { plan.forget = std::exchange(forget_, {}); }
  // Pages that due compressions lacked in the last plan: nobody should be admitted onto them.
  [[nodiscard]] std::uint32_t missing_pages() const { return missing_pages_; }
  void begin_plan() { missing_pages_ = 0; }

 private:
  struct State {
    CompressionParams params;
    std::uint32_t prompt_tokens = 0;
    std::uint32_t done = 0;  // compressions made or in the plan at hand
    std::uint64_t seed = 0;
    std::string chain;  // of append-class sequences
  };
  [[nodiscard]] const CompressionMethod& method_of(const State& s) const {
    return compression_methods()[s.params.method];
  }
  void count_compressed() const;
  void ask_task(std::span<const std::int32_t> prompt, CompressionParams& params) const;
  [[nodiscard]] std::optional<CompressSpan> due(const State& s, std::uint32_t computed) const;

  const CompressionRules rules_;
  WorkerMetrics& metrics_;
  std::unordered_map<SequenceId, State> sequences_;
  std::vector<SequenceId> forget_;
  std::uint32_t missing_pages_ = 0;
};

}  // namespace leadline::worker
