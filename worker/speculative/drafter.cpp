#include "worker/speculative/drafter.h"

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::worker {

std::int32_t kept_rows_for(std::int32_t rounds, std::int32_t drafts, std::int32_t exits) {
  return rounds * (1 + exits) + drafts;  // every input once, and pass 1 of a climb at every layer that asks
}

std::vector<DraftChoice> DraftChooser::choose_all(std::span<const DraftPoint> points,
                                                  ConstFloatMatrix logits) {
  std::vector<DraftChoice> made;
  for (std::size_t i = 0; i < points.size(); ++i)
    made.push_back(
        choose(points[i], {logits.row(static_cast<std::int64_t>(i)), static_cast<std::size_t>(logits.cols)}));
  return made;
}

// The rounds that run next, all in one pass. While a round is on its way through pass 1 (it climbs), all that
// are in pass 1 move together from layer to layer, each time up to the lowest one where somebody leaves or
// asks; later passes wait for them, so that a step has few passes.
std::vector<Drafter::Round*> Drafter::next_rows(std::vector<Round>& rounds) {
  const auto in_first = [](const Round& round) { return round.active && round.drafted.kept_slots.empty(); };
  const bool together = std::any_of(rounds.begin(), rounds.end(), [&](const Round& round) {
    return in_first(round) && (round.climbing || round.from > 0);
  });
  std::vector<Round*> rows;
  for (Round& round : rounds)
    if (together ? in_first(round) : round.active) rows.push_back(&round);
  for (Round* round : rows) round->until = round->to;
  if (together) {
    std::int32_t lowest = rows.front()->to;
    for (const Round* round : rows) lowest = std::min(lowest, round->to);
    for (Round* round : rows) round->until = lowest;
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Round* a, const Round* b) { return a->until > b->until; });
  return rows;
}

void Drafter::apply(Round& round, const DraftChoice& choice) {
  const auto drafts = static_cast<std::int32_t>(round.drafted.inputs.size()) - 1;
  if (choice.step == DraftStep::climb && round.climbing && choice.exit > round.from) {
    round.to = choice.exit;
    return;
  }
  round.climbing = false;
  round.drafted.exit = round.from;
  round.drafted.kept_slots.push_back(round.slot);
  const bool runs = choice.step == DraftStep::go_on || choice.step == DraftStep::keep_and_stop;
  round.active = runs && drafts < round.start->max_draft;
  if (!round.active) return;
  round.drafted.inputs.push_back(choice.token);
  round.asks = choice.step == DraftStep::go_on && drafts + 1 < round.start->max_draft;
  round.to = round.from;
  round.from = 0;
}

Result<std::vector<DraftChoice>> Drafter::choices(std::span<Round* const> asking, ConstFloatMatrix logits,
                                                  DraftChooser* chooser) {
  std::vector<DraftChoice> made(asking.size());
  if (ranks_.rank() == 0) {
    LEADLINE_CHECK(chooser != nullptr && logits.rows == static_cast<std::int64_t>(asking.size()),
                   "rank 0 chooses, from one row of logits for each");
    std::vector<DraftPoint> points;
    for (const Round* round : asking)
      points.push_back({round->start->sequence, round->to, round->climbing, round->drafted.inputs});
    made = chooser->choose_all(points, logits);
  }
  if (ranks_.size() == 1) return made;
  std::vector<std::byte> bytes = draft_choices_to_bytes(made);
  if (auto told = ranks_.broadcast(bytes, 0, nullptr); !told)
    return monitoring::fail(Errc::rank_lost, told.error().message);
  return draft_choices_from_bytes(bytes, asking.size(), limits_.vocab, limits_.layers);
}

void Drafter::arrive(std::span<Round* const> rows) {
  for (Round* round : rows) {
    round->slot = next_slot_++;
    round->from = round->until;
    if (round->from == round->to && !round->asks) apply(*round, {});
  }
}

// One forward over `rows`; those that asked get their choice, those that are through without asking are done.
Result<void> Drafter::pass(std::span<Round* const> rows, DraftChooser* chooser, KvPool& pool) {
  std::vector<std::int32_t> tokens, logit_rows, kept_in;
  std::vector<SequenceRows> sequences;
  std::vector<LayerRange> layers;
  std::vector<Round*> asking;
  std::vector<ExitTap> taps;
  for (Round* round : rows) {
    const auto before = static_cast<std::int32_t>(round->drafted.inputs.size()) - 1;
    SequenceRows row;
    row.first_row = static_cast<std::int32_t>(tokens.size());
    row.rows = 1;
    row.first_position = round->start->position + before;
    row.kv_before = round->start->kv_before + before;
    row.kv = round->start->kv;
    row.decode = true;
    sequences.push_back(row);
    layers.push_back({round->from, round->until});
    if (round->from > 0) kept_in.push_back(round->slot);
    if (round->start->shadow_slot >= 0)
      add_exit_taps(exits_, layers.back(), row.first_row,
                    round->start->shadow_slot + before * static_cast<std::int32_t>(exits_.size()), taps);
    if (round->until == round->to && round->asks) {
      logit_rows.push_back(row.first_row);
      asking.push_back(round);
    }
    tokens.push_back(round->drafted.inputs.back());
  }
  StepBatch batch{tokens, sequences, limits_.layer_unit_step, logit_rows, layers, kept_in};
  batch.kept_out = next_slot_;
  sort_taps(taps);
  batch.exit_taps = taps;
  batch.logits_stay = chooser != nullptr && chooser->reads_device();
  auto logits = transformer_.forward(batch, pool);
  if (!logits) return tl::unexpected(logits.error());
  arrive(rows);
  if (asking.empty()) return {};
  auto chosen = choices(asking, *logits, chooser);
  if (!chosen) return tl::unexpected(chosen.error());
  for (std::size_t i = 0; i < asking.size(); ++i) apply(*asking[i], (*chosen)[i]);
  return {};
}

Result<std::vector<DraftedRound>> Drafter::draft(std::span<const RoundStart> starts, DraftChooser* chooser,
                                                 KvPool& pool) {
  next_slot_ = 0;
  std::vector<Round> rounds(starts.size());
  for (std::size_t i = 0; i < starts.size(); ++i) {
    LEADLINE_CHECK(starts[i].max_draft > 0 && starts[i].exit > 0 && starts[i].exit < limits_.layers,
                   "a round drafts something, below the last layer");
    rounds[i].start = &starts[i];
    rounds[i].to = starts[i].exit;
    rounds[i].climbing = starts[i].climb;
    rounds[i].drafted.inputs = {starts[i].last_token};
  }
  while (true) {
    const std::vector<Round*> rows = next_rows(rounds);
    if (rows.empty()) break;
    if (auto ran = pass(rows, chooser, pool); !ran) return tl::unexpected(ran.error());
  }
  std::vector<DraftedRound> drafted;
  for (Round& round : rounds) drafted.push_back(std::move(round.drafted));
  return drafted;
}

}  // namespace leadline::worker
