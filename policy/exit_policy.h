#pragma once
// ExitPolicy: decide(point) -> a distribution over the legal actions of a speculation round. Total (always an
// answer), cheap (microseconds, no allocation) and pure: what it knows is in the DecisionPoint and in
// constants of its own. Not the engine's round and not acceptance: no decision can change an output (X3).
// Thread: any.
//
// A round: pass 1 runs the last committed token through layers 1..E; pass j > 1 runs draft j-1. After pass j
// the exit's distribution gives draft j. k passes are verified as k rows by layers E+1..L and give at most
// k tokens: k-1 drafts and the model's own token after the last that stands. Asked in this order:
//   round_start  nothing run: plain | draft(exit, max_draft) | climb(exit, max_draft)
//   at_layer     after a climb's pass 1 reached `exit`: draft here | climb to a deeper exit | plain
//   after_draft  draft j = drafted + 1 has been drawn: go_on (run it, draw the next), stop (drop it, verify
//                the j rows that ran), keep_and_stop (run it to the exit, draw no more, verify j+1 rows).
//                Not asked once max_draft drafts ran. at_layer's `draft` is a go_on for the first draft.
// Serving takes the mode; logging draws (policy/decision_draw.h), so that a log can be used off-policy.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "policy/exit_features.h"
#include "policy/sequence_experience.h"

namespace leadline::policy {

enum class DecisionKind : std::uint8_t { round_start = 0, at_layer = 1, after_draft = 2 };
enum class ActionKind : std::uint8_t {
  plain = 0,
  draft = 1,
  climb = 2,
  go_on = 3,
  stop = 4,
  keep_and_stop = 5
};

struct Action {
  ActionKind kind = ActionKind::plain;
  std::int16_t exit = 0;       // layers run before leaving; draft and climb only, else 0
  std::int16_t max_draft = 0;  // drafts at most; draft and climb at round_start only, else 0
  friend bool operator==(const Action&, const Action&) = default;
};

inline constexpr int kMaxDraft = 16;  // drafts of one round, for every policy

struct DecisionPoint {
  DecisionKind kind = DecisionKind::round_start;
  ExitFeatures features;
  std::int32_t layers = 0;              // of the model
  std::span<const std::int32_t> exits;  // candidates, ascending, each in [1, layers); at most kMaxExits
  std::int32_t exit = 0;                // where this round stands; 0 at round_start
  std::int32_t drafted = 0;             // drafts that were run in this round
  std::int32_t max_draft = 0;           // still possible in this round: request, pages, tokens left; >= 0
  const SequenceExperience* experience = nullptr;  // of the sequence; outlives the call
};

[[nodiscard]] bool is_legal(const DecisionPoint& point, const Action& action);

// Probabilities over actions; what is not listed has none. Fixed capacity, so that deciding allocates
// nothing.
class ActionDistribution {
 public:
  static constexpr std::size_t kCapacity = 2 + 2 * kMaxExits;
  struct Entry {
    Action action;
    float probability = 0;
  };
  static ActionDistribution certain(Action action);
  // Adds to an action that is listed, else lists it. Ignored beyond the capacity or for p <= 0.
  void add(Action action, float probability);
  // Of a named distribution only: a temporary's would be gone within the statement that walks them.
  [[nodiscard]] std::span<const Entry> entries() const& { return {entries_.data(), count_}; }
  std::span<const Entry> entries() const&& = delete;
  [[nodiscard]] float probability(const Action& action) const;
  [[nodiscard]] Action mode() const;  // the likeliest; of equals the one listed first
  // u in [0, 1): the action in whose interval of the running sum u lies.
  [[nodiscard]] Action draw(double u) const;

 private:
  std::array<Entry, kCapacity> entries_{};
  std::size_t count_ = 0;
};

struct PolicyNeeds {
  bool probe = false;    // ProbeReading at after_draft and at_layer; without it those features are 0
  bool shadows = false;  // observations of every exit at every verified row (DEL): one more head per exit
};

class ExitPolicy {
 public:
  virtual ~ExitPolicy() = default;
  [[nodiscard]] virtual ActionDistribution decide(const DecisionPoint& point) const = 0;
  [[nodiscard]] virtual PolicyNeeds needs() const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;  // a metric's label: short, constant
};

// What the engine may always do, whatever the point: the answer of `off`, and where a policy has none.
[[nodiscard]] Action safe_action(DecisionKind kind);

}  // namespace leadline::policy
