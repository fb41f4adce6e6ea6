#include "policy/trainer/round_walk.h"

#include <algorithm>
#include <vector>

#include "monitoring/check.h"

namespace leadline::policy {

RoundWalk RoundWalk::enter(const DecodeTrace& trace, const AnswerTrace& answer, std::int32_t at,
                           std::int32_t end) {
  const auto recorded = static_cast<std::int32_t>(answer.tokens.size());
  LEADLINE_CHECK(at >= 1 && at <= recorded && end <= recorded, "a stretch of the answer");
  RoundWalk walk;
  walk.trace = &trace;
  walk.answer = &answer;
  walk.at = at;
  walk.end = end > 0 ? end : recorded;
  const auto last = static_cast<std::size_t>(at - 1);
  RoundOutcome plain;
  plain.target_top1 = std::span(answer.target_top1).subspan(last, 1);
  plain.last_target_margin = answer.target_margin[last];
  walk.experience = observe(walk.experience, plain);
  return walk;
}

std::size_t RoundWalk::index_of(std::int32_t exit) const {
  const auto found = std::ranges::find(trace->exits, exit);
  LEADLINE_CHECK(found != trace->exits.end(), "an exit that was recorded");
  return static_cast<std::size_t>(found - trace->exits.begin());
}

// After the latest pass: on the true prefix, or on the branch of the round's first wrong draft.
const ProbeReading& RoundWalk::reading() const {
  const ExitTrace& seen = answer->exits[index_of(depth)];
  const std::int32_t position = at + passes - 1;
  for (std::int32_t i = at; i < position; ++i) {
    const auto wrong = static_cast<std::size_t>(i);
    if (seen.matches[wrong] != 0) continue;
    const auto first =
        static_cast<std::size_t>(seen.branch[wrong]) * static_cast<std::size_t>(trace->max_draft - 1);
    return seen.branches[first + static_cast<std::size_t>(position - i - 1)];
  }
  return seen.readings[static_cast<std::size_t>(position)];
}

DecisionPoint RoundWalk::start_point(std::int32_t most_drafts) const {
  DecisionPoint point;
  point.kind = DecisionKind::round_start;
  point.layers = trace->layers;
  point.exits = trace->exits;
  point.max_draft = std::min({most_drafts, trace->max_draft, left() - 1});
  point.experience = &experience;
  set_setting(point.features, {static_cast<std::int32_t>(context()), batch_rows, answer->temperature},
              experience);
  return point;
}

DecisionPoint RoundWalk::probe_point() const {
  DecisionPoint point = start_point(max_draft);
  point.kind = climbing ? DecisionKind::at_layer : DecisionKind::after_draft;
  point.exit = depth;
  point.drafted = passes - 1;
  point.max_draft = max_draft - point.drafted;
  set_place(point.features, {index_of(depth), depth, trace->layers, point.drafted, chain}, experience);
  set_probe(point.features, reading());
  return point;
}

void RoundWalk::begin(const Action& action) {
  depth = passes = 0;
  climbing = action.kind == ActionKind::climb;
  open = climbing || action.kind == ActionKind::draft;
  last_pass = false;
  target = action.exit;
  max_draft = action.max_draft;
  chain = 1;
}

void RoundWalk::start_pass() {
  if (passes > 0) target = depth;
  depth = 0;
  ++passes;
}

void RoundWalk::decided(const Action& action) {
  switch (action.kind) {
    case ActionKind::climb:
      target = action.exit;
      return;
    case ActionKind::plain:
    case ActionKind::stop:
      open = false;
      return;
    case ActionKind::keep_and_stop:
      last_pass = true;
      break;
    case ActionKind::draft:
    case ActionKind::go_on:
      break;
  }
  climbing = false;
  chain *= reading().top1_probability;
}

RoundEnd RoundWalk::settle(bool shadows) {
  RoundEnd end;
  end.passes = passes;
  end.exit = depth;
  end.drafted = std::max(0, passes - 1);
  std::vector<ExitObservation> seen;
  if (passes > 0) {
    const ExitTrace& used = answer->exits[index_of(depth)];
    while (end.accepted < end.drafted && used.matches[static_cast<std::size_t>(at + end.accepted)] != 0)
      ++end.accepted;
  }
  const std::int32_t verified = std::min(end.accepted + 1, std::max(end.drafted, 1));
  for (std::size_t e = 0; e < trace->exits.size(); ++e) {
    if (!shadows && (end.drafted == 0 || trace->exits[e] != depth)) continue;
    for (std::int32_t i = 0; i < verified; ++i) {
      const auto position = static_cast<std::size_t>(at + i);
      const ExitTrace& exit = answer->exits[e];
      seen.push_back({static_cast<std::int32_t>(e), exit.matches[position] != 0,
                      exit.readings[position].top1_probability});
    }
  }
  end.tokens = end.accepted + 1;
  const auto first = static_cast<std::size_t>(at);
  experience = observe(experience,
                       {end.drafted, end.accepted,
                        std::span(answer->target_top1).subspan(first, static_cast<std::size_t>(end.tokens)),
                        answer->target_margin[first + static_cast<std::size_t>(end.accepted)], seen,
                        static_cast<float>(depth) / static_cast<float>(trace->layers)});
  at += end.tokens;
  return end;
}

}  // namespace leadline::policy
