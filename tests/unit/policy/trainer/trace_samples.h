#pragma once
// Recorded answers made by hand for tests of replay. Not real ones. Thread: values.

#include <string>
#include <vector>

#include "policy/trainer/cost_table.h"
#include "policy/trainer/decode_trace.h"

namespace leadline::policy {

// One answer per pattern, after a token that the prompt's own step gave; '1' a draft of exit 2 (of 10 layers)
// that matches, '0' one that does not. Exit 6 always matches. Top-1 probabilities: 0.9 where exit 2 matches,
// 0.2 where not and on wrong prefixes.
inline DecodeTrace trace_of(const std::vector<std::string>& patterns, std::int32_t max_draft = 4) {
  DecodeTrace trace;
  trace.layers = 10;
  trace.max_draft = max_draft;
  trace.exits = {2, 6};
  trace.fingerprint = "made by hand";
  for (const std::string& pattern : patterns) {
    AnswerTrace answer;
    answer.task = "made";
    answer.prompt_tokens = 100;
    answer.exits.resize(2);
    for (const char c : "1" + pattern) {
      answer.tokens.push_back(7);
      answer.target_top1.push_back(0.95F);
      answer.target_margin.push_back(3);
      ProbeReading sure, unsure;
      sure.top1_probability = 0.9F;
      unsure.top1_probability = 0.2F;
      ExitTrace &shallow = answer.exits[0], &deep = answer.exits[1];
      shallow.matches.push_back(c == '1' ? 1 : 0);
      shallow.readings.push_back(c == '1' ? sure : unsure);
      const auto per_branch = static_cast<std::size_t>(max_draft - 1);
      shallow.branch.push_back(c == '1' ? -1
                                        : static_cast<std::int32_t>(shallow.branches.size() / per_branch));
      if (c != '1') shallow.branches.insert(shallow.branches.end(), per_branch, unsure);
      deep.matches.push_back(1);
      deep.readings.push_back(sure);
      deep.branch.push_back(-1);
    }
    trace.answers.push_back(std::move(answer));
  }
  return trace;
}

// A layer 10 us, the head 20, a probe 1, a pass 3, whatever the rows.
inline CostTable flat_costs() {
  return *CostTable::parse("layers 10\nlayer 1 0 10\nlayer 8 0 10\nhead 1 20\nhead 8 20\nprobe 1\npass 3\n");
}

inline std::vector<const AnswerTrace*> answers_of(const DecodeTrace& trace) {
  std::vector<const AnswerTrace*> answers;
  for (const AnswerTrace& answer : trace.answers) answers.push_back(&answer);
  return answers;
}

}  // namespace leadline::policy
