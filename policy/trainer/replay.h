#pragma once
// Replay: runs a policy over recorded answers and adds up what the cost table says that it would have taken:
// the rounds of the engine, without the engine. Exact in what is decided and accepted (the trace holds every
// draft that can occur); as good as the table in time. Batches run in lock step as the worker's steps do:
// every pass of a step runs the rows of all rounds that still draft, one verification ends them all. Thread:
// pure.

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "policy/exit_policy.h"
#include "policy/trainer/cost_table.h"
#include "policy/trainer/decode_trace.h"
#include "policy/trajectory.h"

namespace leadline::policy {

struct ReplayOptions {
  std::int32_t batch = 1;
  std::int32_t max_draft = 12;                  // at most the trace's
  float epsilon = 0;                            // exploration; 0: modes only
  std::uint64_t seed = 0;                       // of the exploration
  std::function<void(const Trajectory&)> sink;  // every round; may be empty
};

struct PassRows {  // by exit: rows that ran the layers up to it from the exit below, rows probed there
  std::vector<double> layers, heads;
};
// What sequences of a batch did in their steps, in sums: what one of them finds beside itself (BatchField).
struct Company {
  double steps = 0, us = 0;
  std::vector<PassRows> passes;                                      // [j - 1]: of a step's j-th draft pass
  std::map<std::pair<std::int32_t, std::int32_t>, double> verified;  // rounds by exit (0: plain) and rows
};

struct ReplayResult {
  double tokens = 0, us = 0;
  double steps = 0, rounds = 0, drafted = 0, accepted = 0;  // rounds: those that drafted
  std::map<std::int32_t, double> exits;                     // rounds by exit; 0 = plain steps
  std::map<std::int32_t, double> lengths;                   // rounds by passes run
  Company company;
  [[nodiscard]] double us_per_token() const { return us / tokens; }
};

// Answers one after another through `batch` slots; with several slots only steps with all of them full count
// and answers are taken again until each slot has had two. REQUIRES: answers not empty, of this trace.
[[nodiscard]] ReplayResult replay(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                                  const ExitPolicy& policy, const CostTable& costs,
                                  const ReplayOptions& options);

struct ReplayStart {
  const AnswerTrace* answer = nullptr;
  std::int32_t at = 1;   // tokens that it has, at least 1
  std::int32_t end = 0;  // tokens that it was given; 0: all of the record
};
// Sequences beside each other from where they are to the step in which the first one ends: what a stretch of
// a real run is compared with. REQUIRES: at least one, each with a token left.
[[nodiscard]] ReplayResult replay_together(const DecodeTrace& trace, std::span<const ReplayStart> starts,
                                           const ExitPolicy& policy, const CostTable& costs,
                                           std::int32_t max_draft);

// The least time in which rounds can make the answer, knowing every token and every match beforehand, batch 1
// (dynamic programming over positions, all exits and lengths).
[[nodiscard]] ReplayResult oracle(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                                  const CostTable& costs, std::int32_t max_draft);

// The same trace with every exit and the layers multiplied: what `inflate` makes of a model.
[[nodiscard]] DecodeTrace deepened(DecodeTrace trace, std::int32_t factor);

}  // namespace leadline::policy
