#include "worker/runtime/round_director.h"

#include <algorithm>
#include <utility>

#include "monitoring/check.h"
#include "policy/decision_draw.h"

namespace leadline::worker {
namespace {

using policy::ActionKind;
using policy::DecisionKind;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::span<const float> allowed(const Sequence& sequence, std::span<const float> logits) {
  return logits.first(std::min(logits.size(), static_cast<std::size_t>(sequence.allowed_vocab)));
}

}  // namespace

RoundDirector::RoundDirector(SequenceTable& table, SequenceSampler& sampler, SpeculationLimits limits,
                             SpeculationParts parts, TokenChooser* device)
    : table_(table), sampler_(sampler), limits_(std::move(limits)), parts_(parts), device_(device) {}

void RoundDirector::begin_step(std::uint32_t decoding) {
  decoding_ = std::max(decoding, 1U);
  won_ = 0;
  PolicySlot::Policy now = parts_.policy == nullptr ? nullptr : parts_.policy->take();
  if (now != policy_) {
    policy_ = std::move(now);
    if (parts_.metrics != nullptr)
      parts_.metrics->policy.set(policy_ == nullptr ? PolicyName::off : policy_name(policy_->name()));
  }
  held_back_ = limits_.guarded && guard_.choose(decoding_) == policy::GuardChoice::plain;
}

void RoundDirector::end_step(const StepAccount& step) {
  if (limits_.guarded) guard_.observe({decoding_, step.us, won_, step.speculated, step.mixed});
  if (parts_.metrics == nullptr) return;
  const policy::SpeculationGuard::Totals& totals = guard_.totals();
  parts_.metrics->seconds[SpeculationEffect::saved].inc((totals.saved_us - saved_us_) * 1e-6);
  parts_.metrics->seconds[SpeculationEffect::lost].inc((totals.lost_us - lost_us_) * 1e-6);
  saved_us_ = totals.saved_us;
  lost_us_ = totals.lost_us;
  parts_.metrics->decisions.inc(static_cast<double>(std::exchange(asked_, 0)));
  parts_.metrics->decision_seconds.inc(std::exchange(seconds_, 0));
}

RoundDirector::Rounds& RoundDirector::rounds_of(const Sequence& sequence) {
  auto [found, fresh] = rounds_.try_emplace(sequence.id);
  if (fresh) {
    found->second.draft_sampling = sequence.sampling;
    found->second.draft_sampling.top_logprobs = -1;
  }
  return found->second;
}

// Since the last decision of this round, in shares of those who decode together.
void RoundDirector::note_cost(Rounds& rounds) const {
  if (rounds.trajectory.decisions.empty()) return;
  const std::chrono::duration<float, std::micro> spent = std::chrono::steady_clock::now() - rounds.asked;
  rounds.trajectory.decisions.back().cost_us = spent.count() / static_cast<float>(decoding_);
}

policy::Action RoundDirector::ask(SequenceId id, Rounds& rounds, const policy::DecisionPoint& point) {
  ++asked_;
  policy::ActionDistribution wanted = rounds.policy->decide(point);
  policy::Action action = wanted.mode();
  if (!policy::is_legal(point, action)) action = policy::safe_action(point.kind);
  if (parts_.log == nullptr) return action;
  // A round that the scheduler cut short is not the one that was decided (granted): nothing of it is logged.
  if (point.kind != DecisionKind::round_start && rounds.trajectory.decisions.empty()) return action;
  wanted = policy::explore(point, policy::ActionDistribution::certain(action), limits_.explore);
  const auto number = static_cast<std::uint32_t>(rounds.trajectory.decisions.size());
  action = wanted.draw(policy::decision_uniform(id.value, rounds.trajectory.round, number));
  note_cost(rounds);
  rounds.asked = std::chrono::steady_clock::now();
  policy::LoggedDecision decision;
  decision.kind = point.kind;
  decision.exit = point.exit;
  decision.drafted = point.drafted;
  decision.max_draft = point.max_draft;
  decision.features = point.features;
  decision.action = action;
  decision.propensity = wanted.probability(action);
  rounds.trajectory.decisions.push_back(decision);
  return action;
}

void RoundDirector::log_round(SequenceId id, Rounds& rounds, std::size_t tokens, std::size_t drafted) {
  if (parts_.log == nullptr || rounds.trajectory.decisions.empty()) return;
  note_cost(rounds);
  policy::Trajectory& t = rounds.trajectory;
  t.sequence = id.value;
  t.batch_rows = static_cast<std::int32_t>(decoding_);
  t.tokens = static_cast<std::int32_t>(tokens);
  t.drafted = static_cast<std::int32_t>(drafted);
  t.accepted = t.tokens - 1;
  (void)parts_.log->append(t);  // counts what it could not keep
  t.decisions.clear();
}

void RoundDirector::count_round(const DraftedRound& round, std::size_t drafted, std::size_t accepted) const {
  if (parts_.metrics == nullptr) return;
  parts_.metrics->rounds[sixteenth_of(round.exit, limits_.layers)].inc();
  for (std::size_t i = 0; i < drafted; ++i) parts_.metrics->drafted[position_of(i)].inc();
  for (std::size_t i = 0; i < accepted; ++i) parts_.metrics->accepted[position_of(i)].inc();
}

// The request's wish; null: it does not draft.
PolicySlot::Policy RoundDirector::policy_for(const Sequence& sequence) const {
  switch (sequence.speculation.mode) {
    case transport::SpeculationMode::off:
      return nullptr;
    case transport::SpeculationMode::fixed:
      return limits_.fixed != nullptr ? limits_.fixed : policy_;
    case transport::SpeculationMode::automatic:
    case transport::SpeculationMode::learned:
      break;
  }
  return policy_;
}

std::int32_t RoundDirector::index_of(std::int32_t exit) const {
  const auto found = std::lower_bound(limits_.exits.begin(), limits_.exits.end(), exit);
  return static_cast<std::int32_t>(found - limits_.exits.begin());
}

RoundPlan RoundDirector::open(const Sequence& sequence, std::uint32_t kv) {
  if (const auto found = rounds_.find(sequence.id); found != rounds_.end()) {
    found->second.trajectory.decisions.clear();  // of a round that did not take place
    found->second.shadows.clear();
    found->second.plan = {};
  }
  const PolicySlot::Policy policy = policy_for(sequence);
  if (policy == nullptr || limits_.exits.empty()) return {};
  if (held_back_ && sequence.speculation.mode == transport::SpeculationMode::automatic) return {};
  const std::uint32_t left = sequence.max_tokens - std::min(sequence.max_tokens, sequence.generated());
  if (left < 2) return {};  // a round of k rows gives up to k tokens: no draft is of use
  Rounds& rounds = rounds_of(sequence);
  rounds.policy = policy;
  ++rounds.trajectory.round;
  const auto start = std::chrono::steady_clock::now();
  policy::set_setting(
      rounds.features,
      {static_cast<std::int32_t>(kv), static_cast<std::int32_t>(decoding_), sequence.sampling.temperature},
      rounds.experience);
  policy::DecisionPoint point;
  point.kind = DecisionKind::round_start;
  point.features = rounds.features;
  point.layers = limits_.layers;
  point.exits = limits_.exits;
  const std::uint32_t wished = sequence.speculation.max_draft;
  // No more than its share of a step: a round that the scheduler cuts short is not the one that was decided.
  const std::uint32_t share = std::max(limits_.step_drafts / decoding_, 1U);
  const std::uint32_t most = std::min({wished == 0 ? limits_.max_draft : wished, limits_.max_draft, share});
  point.max_draft = static_cast<std::int32_t>(std::min(left - 1, most));
  point.experience = &rounds.experience;
  const policy::Action action = ask(sequence.id, rounds, point);
  seconds_ += seconds_since(start);
  rounds.plan = {};
  rounds.chain = 1;
  rounds.observations.clear();
  if (action.kind == ActionKind::draft || action.kind == ActionKind::climb)
    rounds.plan = {static_cast<std::uint16_t>(action.exit), static_cast<std::uint16_t>(action.max_draft),
                   action.kind == ActionKind::climb};
  rounds.plan.shadows = policy->needs().shadows;
  return rounds.plan;
}

RoundPlan RoundDirector::granted(SequenceId id, std::uint32_t drafts) {
  const auto found = rounds_.find(id);
  if (found == rounds_.end()) return {};
  RoundPlan& plan = found->second.plan;
  if (drafts < plan.max_draft) found->second.trajectory.decisions.clear();  // not the round that was decided
  plan.max_draft = static_cast<std::uint16_t>(std::min<std::uint32_t>(plan.max_draft, drafts));
  if (plan.max_draft == 0) plan = {.shadows = plan.shadows};
  return plan;
}

DraftChoice RoundDirector::choose(const DraftPoint& at, std::span<const float> logits) {
  const Sequence& sequence = *table_.find(at.sequence);
  Rounds& rounds = rounds_of(sequence);
  const std::span<const std::int32_t> drafts = at.inputs.subspan(1);
  const SampledRow drawn = sampler_.sample(sequence, drafts, logits, rounds.draft_sampling);
  if (drawn.no_candidate) return {};
  const auto start = std::chrono::steady_clock::now();
  policy::ProbeReading reading;
  if (rounds.policy->needs().probe) reading = policy::read_probe(allowed(sequence, logits), drawn.token);
  seconds_ += seconds_since(start);
  return choose_drawn(at, drawn.token, reading);
}

std::vector<DraftChoice> RoundDirector::choose_all(std::span<const DraftPoint> points,
                                                   ConstFloatMatrix logits) {
  if (device_ == nullptr) return DraftChooser::choose_all(points, logits);
  device_->begin(logits);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Sequence& sequence = *table_.find(points[i].sequence);
    const Rounds& rounds = rounds_of(sequence);
    device_->add(static_cast<std::int32_t>(i), sampler_.row_of(sequence, points[i].inputs.subspan(1)),
                 rounds.draft_sampling, rounds.policy->needs().probe);
  }
  const std::span<const ChosenRow> drawn = device_->choose();
  std::vector<DraftChoice> made(points.size());
  for (std::size_t i = 0; i < points.size(); ++i)
    if (!drawn[i].row.no_candidate) made[i] = choose_drawn(points[i], drawn[i].row.token, drawn[i].reading);
  return made;
}

// Each with the sequence's own noise at its place, as if the exit had drafted there.
void RoundDirector::see_shadows(std::span<const ShadowPoint> points, ConstFloatMatrix logits) {
  const auto start = std::chrono::steady_clock::now();
  std::span<const ChosenRow> chosen;
  if (device_ != nullptr) {
    device_->begin(logits);
    for (std::size_t i = 0; i < points.size(); ++i) {
      const Sequence& sequence = *table_.find(points[i].sequence);
      device_->add(static_cast<std::int32_t>(i), sampler_.row_of(sequence, points[i].inputs.subspan(1)),
                   rounds_of(sequence).draft_sampling, true);
    }
    chosen = device_->choose();
  }
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Sequence& sequence = *table_.find(points[i].sequence);
    Rounds& rounds = rounds_of(sequence);
    ChosenRow drawn;
    if (device_ != nullptr) {
      drawn = chosen[i];
    } else {
      const std::span<const float> row(logits.row(static_cast<std::int64_t>(i)),
                                       static_cast<std::size_t>(logits.cols));
      drawn.row = sampler_.sample(sequence, points[i].inputs.subspan(1), row, rounds.draft_sampling);
      if (!drawn.row.no_candidate)
        drawn.reading = policy::read_probe(allowed(sequence, row), drawn.row.token);
    }
    if (drawn.row.no_candidate) continue;
    rounds.shadows.push_back(
        {points[i].inputs.size() - 1, points[i].exit_index, drawn.row.token, drawn.reading.top1_probability});
  }
  seconds_ += seconds_since(start);
}

// In the place of what was seen of the drafts themselves: of the first `compared` rows, whose own tokens are
// known.
void RoundDirector::observe_shadows(Rounds& rounds, std::span<const std::int32_t> own, std::size_t compared) {
  if (rounds.shadows.empty()) return;
  rounds.observations.clear();
  for (const Shadow& shadow : rounds.shadows)
    if (shadow.row < compared)
      rounds.observations.push_back({shadow.exit_index, shadow.token == own[shadow.row], shadow.confidence});
  rounds.shadows.clear();
}

// What the policy makes of a drawn draft.
DraftChoice RoundDirector::choose_drawn(const DraftPoint& at, std::int32_t token,
                                        const policy::ProbeReading& reading) {
  const Sequence& sequence = *table_.find(at.sequence);
  Rounds& rounds = rounds_of(sequence);
  const std::span<const std::int32_t> drafts = at.inputs.subspan(1);
  const auto start = std::chrono::steady_clock::now();
  policy::ExitFeatures& features = rounds.features;
  float confidence = 0;
  if (rounds.policy->needs().probe) {
    policy::set_probe(features, reading);
    confidence = reading.top1_probability;
  }
  policy::set_place(features,
                    {static_cast<std::size_t>(index_of(at.layer)), at.layer, limits_.layers,
                     static_cast<std::int32_t>(drafts.size()), rounds.chain},
                    rounds.experience);
  policy::DecisionPoint point;
  point.features = features;
  point.layers = limits_.layers;
  point.exits = limits_.exits;
  point.exit = at.layer;
  point.drafted = static_cast<std::int32_t>(drafts.size());
  point.max_draft = rounds.plan.max_draft - point.drafted;
  point.experience = &rounds.experience;
  const DraftChoice choice = decide(at.sequence, rounds, point, at.climbing, token);
  seconds_ += seconds_since(start);
  if (choice.step == DraftStep::stop || choice.step == DraftStep::climb) return choice;
  if (is_stop(sequence, token)) return {};  // nothing can follow it: verify what ran
  rounds.chain *= confidence;
  rounds.observations.push_back({index_of(at.layer), false, confidence});
  return choice;
}

DraftChoice RoundDirector::decide(SequenceId id, Rounds& rounds, policy::DecisionPoint& point, bool climbing,
                                  std::int32_t token) {
  point.kind = climbing ? DecisionKind::at_layer : DecisionKind::after_draft;
  const policy::Action action = ask(id, rounds, point);
  switch (action.kind) {
    case ActionKind::climb:
      return {DraftStep::climb, 0, action.exit};
    case ActionKind::draft:
    case ActionKind::go_on:
      return {DraftStep::go_on, token, 0};
    case ActionKind::keep_and_stop:
      return {DraftStep::keep_and_stop, token, 0};
    case ActionKind::plain:
    case ActionKind::stop:
      break;
  }
  return {};
}

bool RoundDirector::wants_round_probe(const Sequence& sequence) {
  const PolicySlot::Policy& policy = rounds_of(sequence).policy;
  return policy != nullptr && policy->needs().probe;
}

void RoundDirector::close(const Sequence& sequence, const DraftedRound& round,
                          std::span<const SampledRow> own_tokens, ConstFloatMatrix logits) {
  std::vector<policy::ProbeReading> readings;
  for (std::size_t row = 0; row < own_tokens.size() && wants_round_probe(sequence); ++row) {
    const std::span<const float> own(logits.row(static_cast<std::int64_t>(row)),
                                     static_cast<std::size_t>(logits.cols));
    readings.push_back(policy::read_probe(allowed(sequence, own), 0));
  }
  close(sequence, round, own_tokens, readings);
}

void RoundDirector::close(const Sequence& sequence, const DraftedRound& round,
                          std::span<const SampledRow> own_tokens,
                          std::span<const policy::ProbeReading> readings) {
  Rounds& rounds = rounds_of(sequence);
  const std::size_t stand = own_tokens.size(), drafted = round.inputs.size() - 1, accepted = stand - 1;
  ++rounds.counts.rounds;
  rounds.counts.drafted += drafted;
  rounds.counts.accepted += accepted;
  won_ += static_cast<double>(stand);
  log_round(sequence.id, rounds, stand, drafted);
  count_round(round, drafted, accepted);
  // Only drafts up to the first that fell are comparable with the model's own token at their place.
  rounds.observations.resize(std::min(rounds.observations.size(), std::min(drafted, accepted + 1)));
  for (std::size_t i = 0; i < rounds.observations.size(); ++i) rounds.observations[i].matched = i < accepted;
  if (!rounds.shadows.empty()) {
    std::vector<std::int32_t> own;
    for (const SampledRow& row : own_tokens) own.push_back(row.token);
    observe_shadows(rounds, own, std::min(stand, std::max<std::size_t>(drafted, 1)));
  }
  std::vector<float> top1;
  policy::RoundOutcome outcome;
  outcome.drafted = static_cast<std::int32_t>(drafted);
  outcome.accepted = static_cast<std::int32_t>(accepted);
  outcome.depth = static_cast<float>(round.exit) / static_cast<float>(limits_.layers);
  for (const policy::ProbeReading& reading : readings.first(std::min(readings.size(), stand))) {
    top1.push_back(reading.top1_probability);
    outcome.last_target_margin = reading.margin;
  }
  outcome.target_top1 = top1;
  outcome.observations = rounds.observations;
  rounds.experience = policy::observe(rounds.experience, outcome);
}

bool RoundDirector::wants_probe(const Sequence& sequence) {
  const PolicySlot::Policy policy = policy_for(sequence);
  return policy != nullptr && policy->needs().probe;
}

void RoundDirector::saw_plain(const Sequence& sequence, std::span<const float> logits, std::int32_t token) {
  policy::ProbeReading reading;
  if (wants_probe(sequence)) reading = policy::read_probe(allowed(sequence, logits), token);
  saw_plain(sequence, token, reading);
}

void RoundDirector::saw_plain(const Sequence& sequence, std::int32_t token,
                              const policy::ProbeReading& reading) {
  won_ += 1;
  if (const auto found = rounds_.find(sequence.id); found != rounds_.end())
    log_round(sequence.id, found->second, 1, 0);
  if (!wants_probe(sequence)) return;
  Rounds& rounds = rounds_of(sequence);
  rounds.observations.clear();
  observe_shadows(rounds, {&token, 1}, 1);
  policy::RoundOutcome outcome;
  outcome.observations = rounds.observations;
  outcome.target_top1 = {&reading.top1_probability, 1};
  outcome.last_target_margin = reading.margin;
  rounds.experience = policy::observe(rounds.experience, outcome);
}

SpeculationCounts RoundDirector::counts(SequenceId id) const {
  const auto found = rounds_.find(id);
  return found == rounds_.end() ? SpeculationCounts{} : found->second.counts;
}

}  // namespace leadline::worker
