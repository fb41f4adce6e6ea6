#pragma once
// RoundWalk: one sequence on its way through rounds over a recorded answer: where it stands, what it sees at
// a decision, what a decision leads to. Not a policy, not time (replay and rollout charge it). A value that
// can be copied, so that every action of a decision can be tried. Thread: any.
//
// A sequence enters with the prompt's own step behind it: that step gave the first token, no round did.
// A round: begin(action), then while `open`: start_pass(), one or more stages up to `target` (reach()), and
// where asks() is true after one, decided(action); then settle().

#include <cstdint>

#include "policy/exit_policy.h"
#include "policy/trainer/decode_trace.h"

namespace leadline::policy {

struct RoundEnd {
  std::int32_t tokens = 1, drafted = 0, accepted = 0, passes = 0, exit = 0;
};

struct RoundWalk {
  const DecodeTrace* trace = nullptr;
  const AnswerTrace* answer = nullptr;
  std::int32_t end = 0;  // tokens at which the answer ends, at most those recorded
  std::int32_t at = 1;   // tokens committed, the prompt's own among them
  SequenceExperience experience;
  std::int32_t batch_rows = 1;
  // of the round at hand
  std::int32_t depth = 0;   // layers run by the last pass; 0: a plain step
  std::int32_t target = 0;  // layer that the pass at hand goes to next
  std::int32_t passes = 0, max_draft = 0;
  bool open = false;  // another pass follows
  bool climbing = false, last_pass = false;
  float chain = 1;

  [[nodiscard]] std::int32_t left() const { return end - at; }
  // KV slots before the round: the latest token has none yet.
  [[nodiscard]] double context() const { return answer->prompt_tokens + at - 1; }

  // Of an answer to its recorded end, or to `end` tokens: stands at `at` >= 1 tokens, having seen the plain
  // step that gave the last of them and nothing before.
  static RoundWalk enter(const DecodeTrace& trace, const AnswerTrace& answer, std::int32_t at,
                         std::int32_t end = 0);

  // What a policy sees before the round, and at the probe of the stage that was reached.
  [[nodiscard]] DecisionPoint start_point(std::int32_t most_drafts) const;
  [[nodiscard]] DecisionPoint probe_point() const;

  void begin(const Action& action);
  void start_pass();
  void reach(std::int32_t layer) { depth = layer; }
  // Whether a probe follows at the layer reached: not after the last pass of a round.
  [[nodiscard]] bool asks() const { return !last_pass && passes - 1 < max_draft; }
  void decided(const Action& action);
  // Ends the round: moves on by its tokens and observes them. shadows: what every exit would have said.
  RoundEnd settle(bool shadows);

 private:
  [[nodiscard]] std::size_t index_of(std::int32_t exit) const;
  [[nodiscard]] const ProbeReading& reading() const;
};

}  // namespace leadline::policy
