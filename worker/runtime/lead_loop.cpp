#include "worker/runtime/lead_loop.h"

#include <algorithm>

#include "monitoring/check.h"
#include "monitoring/log.h"
#include "worker/speculative/acceptance.h"

namespace leadline::worker {
namespace {

using std::chrono::milliseconds;
using transport::FinishReason;

std::uint64_t us_between(SteadyTime from, SteadyTime to) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(to - from).count();
  return us > 0 ? static_cast<std::uint64_t>(us) : 0;
}

double seconds_between(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double>(to - from).count();
}

SequenceEnd end_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return SequenceEnd::stop;
    case FinishReason::length:
      return SequenceEnd::length;
    case FinishReason::cancelled:
      return SequenceEnd::cancelled;
    case FinishReason::deadline:
      return SequenceEnd::deadline;
    case FinishReason::overloaded:
      return SequenceEnd::overloaded;
    case FinishReason::invalid:
      return SequenceEnd::invalid;
    case FinishReason::failed:
    case FinishReason::unknown:
      return SequenceEnd::failed;
  }
  return SequenceEnd::failed;
}

transport::SampledToken to_wire(SampledRow row, std::int32_t draft_layer) {
  transport::SampledToken token;
  token.draft_layer = draft_layer;
  token.token = row.token;
  token.logprob = row.logprob;
  token.top_logprobs.reserve(row.top_logprobs.size());
  for (const auto& [id, logprob] : row.top_logprobs) token.top_logprobs.push_back({id, logprob});
  return token;
}

// SampledToken::draft_layer of a round's row whose own token is `token`; the last row was not drafted for.
std::int32_t draft_layer_of(const DraftedRound& round, std::size_t row, std::int32_t token) {
  if (row + 1 >= round.inputs.size()) return 0;
  return round.inputs[row + 1] == token ? round.exit : -round.exit;
}

}  // namespace

LeadLoop::LeadLoop(LeadParts parts, LeadLimits limits)
    : parts_(parts),
      limits_(std::move(limits)),
      compression_(limits_.compression, parts.metrics),
      chooser_(parts.executor.backend()),
      director_(table_, sampler_, limits_.speculation, parts.speculation,
                parts.executor.backend().host_addressable() ? nullptr : &chooser_) {
  const std::string wrong = check(limits_.scheduler);
  LEADLINE_CHECK(wrong.empty(), wrong.c_str());
}

Result<void> LeadLoop::run() {
  while (!parts_.inbox.closed()) {
    const SteadyTime now = std::chrono::steady_clock::now();
    take_inbox(live_.empty() && !owes_a_plan() ? patience(now) : milliseconds(0));
    expire_deadlines(std::chrono::steady_clock::now());
    if (drain_until_ &&
        ((live_.empty() && !owes_a_plan()) || std::chrono::steady_clock::now() >= *drain_until_))
      break;
    if (live_.empty() && !owes_a_plan()) {  // between steps no collective would tell that a rank is gone
      if (auto alive = parts_.ranks.check(); !alive)
        return monitoring::fail(Errc::rank_lost, alive.error().message);
      continue;
    }
    const SteadyTime planning = std::chrono::steady_clock::now();
    const CacheUsage usage = parts_.cache.usage();
    const Schedule schedule = worker::schedule(
        views(),
        {usage.available() - std::min(usage.available(), compression_.missing_pages()), usage.host_free},
        limits_.scheduler);
    const StepPlan next = plan(schedule);
    parts_.metrics.step[StepStage::plan].observe(seconds_between(planning, std::chrono::steady_clock::now()));
    if (next.empty()) {
      take_inbox(milliseconds(5));  // nothing fits now: a cancel or a deadline changes that
      continue;
    }
    parts_.health.step_started();
    if (auto done = step(next); !done) return done;
    parts_.health.step_ended();
    publish_status();
  }
  if (parts_.ranks.size() > 1)
    (void)parts_.ranks.announce_plan({});  // leave; a dead group has nobody to tell
  return {};
}

milliseconds LeadLoop::patience(SteadyTime now) const {
  if (!drain_until_) return limits_.idle_patience;
  const auto left = std::chrono::duration_cast<milliseconds>(*drain_until_ - now);
  return std::clamp(left, milliseconds(0), limits_.idle_patience);
}

void LeadLoop::take_inbox(milliseconds patience) {
  for (InboxItem& item : parts_.inbox.take(patience)) {
    if (auto* generate = std::get_if<InboxGenerate>(&item)) {
      accept(std::move(*generate));
    } else if (auto* cancel = std::get_if<InboxCancel>(&item)) {
      if (Sequence* sequence = table_.find(cancel->link, cancel->request))
        finish(sequence->id, FinishReason::cancelled);
    } else if (auto* lost = std::get_if<InboxLinkLost>(&item)) {
      for (SequenceId id : table_.of_link(lost->link)) finish(id, FinishReason::cancelled);
      parts_.outbox.forget(lost->link);
    } else if (!drain_until_) {
      drain_until_ = std::chrono::steady_clock::now() + limits_.drain_limit;
      parts_.status.phase = transport::WorkerPhase::draining;
      monitoring::log_info("draining", {{"sequences", live_.size()}});
    }
  }
  publish_status();
}

void LeadLoop::refuse(const InboxGenerate& item, FinishReason reason, std::string message) {
  transport::Finish finish;
  finish.request = item.request.request;
  finish.reason = reason;
  finish.message = std::move(message);
  parts_.metrics.sequences_finished[end_of(reason)].inc();
  parts_.outbox.push_finish(item.link, std::move(finish));
}

void LeadLoop::accept(InboxGenerate item) {
  if (drain_until_) return refuse(item, FinishReason::overloaded, "the worker is draining");
  if (live_.size() >= limits_.max_live_requests)
    return refuse(item, FinishReason::overloaded,
                  "the worker has " + std::to_string(live_.size()) + " requests");
  if (table_.find(item.link, item.request.request) != nullptr)
    return refuse(item, FinishReason::invalid,
                  "request id " + std::to_string(item.request.request.value) + " is in use");
  auto sequence = intake(item, limits_.intake);
  if (!sequence) return refuse(item, FinishReason::invalid, sequence.error().message);
  const auto compressed = compression_.ask(sequence->kv, sequence->prompt_tokens);
  if (!compressed) return refuse(item, FinishReason::invalid, compressed.error().message);
  Sequence& added = table_.add(std::move(*sequence));
  if (*compressed)
    compression_.add(added.id, **compressed, std::span(added.tokens).first(added.prompt_tokens));
  add_to_cache(added);
  live_[added.id] = Live{SequenceState::waiting, step_};
}

void LeadLoop::add_to_cache(const Sequence& sequence) {
  KeepWish keep;
  keep.store = sequence.kv.store;  // of what is compressed: the raw pages, under their chain's own keys
  if (sequence.kv.ttl_s > 0) keep.expires_unix_s = kvstore::unix_now_s() + sequence.kv.ttl_s;
  CacheRules rules = compression_.cache_rules(sequence.id);
  rules.keep = keep;
  parts_.cache.add(sequence.id, sequence.tokens, sequence.salt, rules);
}

bool LeadLoop::owes_a_plan() const {
  return parts_.cache.has_seals() || (parts_.fetcher != nullptr && parts_.fetcher->owes_drops());
}

void LeadLoop::expire_deadlines(SteadyTime now) {
  std::vector<SequenceId> expired;
  for (const auto& [id, sequence] : table_.all())
    if (sequence.deadline && now >= *sequence.deadline) expired.push_back(id);
  for (SequenceId id : expired) finish(id, FinishReason::deadline);
}

std::vector<SequenceView> LeadLoop::views() {
  std::vector<SequenceView> views;
  views.reserve(live_.size());
  std::size_t peeks = limits_.peeked_requests;
  for (const auto& [id, sequence] : table_.all()) {
    const Live& live = live_.at(id);
    if (live.state == SequenceState::waiting && parts_.fetcher != nullptr && parts_.fetcher->holds(id))
      continue;
    SequenceView view;
    view.id = id;
    view.state = live.state;
    view.arrival = sequence.arrival;
    view.arrival_step = live.arrival_step;
    view.priority = sequence.priority;
    view.known_tokens = static_cast<std::uint32_t>(sequence.tokens.size());
    if (live.state == SequenceState::waiting) {
      if (peeks > 0) {
        --peeks;
        const PrefixHit hit = parts_.cache.peek(id);
        view.computed_tokens = parts_.fetcher == nullptr ? hit.tokens : parts_.fetcher->hit_tokens(id, hit);
        view.soon_tokens = hit.soon_tokens;
        view.device_pages = hit.held_pages;
      }
    } else {
      // Compressed tokens are out of the table: for pages, the sequence is as long as what is left of it.
      view.known_tokens -= parts_.cache.compressed_tokens(id);
      view.computed_tokens = parts_.cache.computed(id) - parts_.cache.compressed_tokens(id);
      view.device_pages = parts_.cache.device_pages(id);
      view.sole_pages = parts_.cache.sole_pages(id);
      view.host_pages = parts_.cache.host_pages(id);
    }
    views.push_back(view);
  }
  ask_for_drafts(views);
  return views;
}

void LeadLoop::ask_for_drafts(std::vector<SequenceView>& views) {
  const auto decodes = [](const SequenceView& view) {
    return view.state == SequenceState::running && view.known_tokens - view.computed_tokens == 1;
  };
  director_.begin_step(static_cast<std::uint32_t>(std::count_if(views.begin(), views.end(), decodes)));
  for (SequenceView& view : views)
    if (decodes(view))
      view.draft_tokens =
          std::min<std::uint32_t>(director_.open(*table_.find(view.id), view.computed_tokens).max_draft,
                                  parts_.cache.rows_to_group_end(view.id) - 1);
}

void LeadLoop::preempt(const Schedule& schedule) {
  std::vector<SequenceId> drop = schedule.drop;
  for (SequenceId id : schedule.swap_out) {
    if (parts_.cache.swap_out(id)) {
      live_.at(id).state = SequenceState::swapped;
      parts_.metrics.preemptions[PreemptionKind::swap].inc();
    } else {
      drop.push_back(id);
    }
    ++table_.find(id)->preemptions;
  }
  for (SequenceId id : schedule.drop) ++table_.find(id)->preemptions;
  for (SequenceId id : drop) {
    Sequence& sequence = *table_.find(id);
    parts_.cache.release(id);
    if (parts_.fetcher != nullptr) parts_.fetcher->forget(id);
    compression_.drop(id);
    add_to_cache(sequence);
    live_.at(id).state = SequenceState::waiting;
    parts_.metrics.preemptions[PreemptionKind::recompute].inc();
  }
}

void LeadLoop::admit(SequenceId id, SteadyTime now) {
  transport::KvStory story;
  const PrefixHit hit = parts_.fetcher == nullptr ? parts_.cache.admit(id) : parts_.fetcher->admit(id, story);
  if (parts_.fetcher == nullptr && hit.tokens > 0)
    story.runs.push_back({transport::KvSource::device, hit.tokens});
  live_.at(id).state = SequenceState::running;
  Sequence& sequence = *table_.find(id);
  if (sequence.first_scheduled) return;  // back after a drop: the first admission's numbers stand
  sequence.first_scheduled = now;
  sequence.cached_tokens = std::min(hit.tokens, sequence.prompt_tokens);
  sequence.kv_story = std::move(story);
  parts_.metrics.sequence_queue.observe(seconds_between(sequence.received, now));
  parts_.metrics.sequence_tokens[TokenKind::prompt_cached].inc(sequence.cached_tokens);
  parts_.metrics.sequence_tokens[TokenKind::prompt_computed].inc(sequence.prompt_tokens -
                                                                 sequence.cached_tokens);
}

StepPlan LeadLoop::plan(const Schedule& schedule) {
  const SteadyTime now = std::chrono::steady_clock::now();
  for (SequenceId id : schedule.unfit)
    finish(id, FinishReason::invalid, "the sequence is longer than the KV pool");
  preempt(schedule);
  for (SequenceId id : schedule.swap_in)
    if (parts_.cache.swap_in(id)) live_.at(id).state = SequenceState::running;
  for (SequenceId id : schedule.admit) {
    // Admitted in the same step, one before it may have the same prefix to compute.
    if (parts_.cache.peek(id).soon_tokens >= limits_.scheduler.min_chunk_tokens) continue;
    admit(id, now);
  }
  StepPlan next;
  next.step = step_;
  compression_.begin_plan();
  compression_.take_forgotten(next);
  for (const ScheduledSequence& scheduled : schedule.run) {
    const SequenceId id = scheduled.id;
    if (live_.at(id).state != SequenceState::running) continue;
    const Sequence& sequence = *table_.find(id);
    const std::uint32_t computed = parts_.cache.computed(id);
    const std::uint32_t known = static_cast<std::uint32_t>(sequence.tokens.size());
    const std::uint32_t run = compression_.cut(
        id, computed, std::min({scheduled.tokens, known - computed, parts_.cache.rows_to_group_end(id)}));
    RoundPlan round = computed + 1 == known ? director_.granted(id, scheduled.drafts) : RoundPlan{};
    round = compression_.cut(id, computed, round);
    if (!compression_.prepare(id, sequence.tokens, parts_.cache, next)) continue;
    if (!parts_.cache.reserve(id, run + round.max_draft)) {
      round = {};
      if (!parts_.cache.reserve(id, run)) continue;  // the view was stale: it waits for the next step
    }
    SequenceStep rows;
    rows.round = round;
    rows.sequence = id;
    rows.tokens.assign(sequence.tokens.begin() + computed, sequence.tokens.begin() + computed + run);
    rows.first_position = computed;
    rows.kv_before = computed - parts_.cache.compressed_tokens(id);
    for (std::uint32_t page : parts_.cache.table(id)) rows.table.push_back(PageId{page});
    rows.logits = computed + run == known ? LogitsWanted::last : LogitsWanted::none;
    compression_.describe(rows);
    next.sequences.push_back(std::move(rows));
  }
  PlanMoves moves = parts_.cache.take_moves();
  next.quantise = std::move(moves.quantise);
  next.swap_out = std::move(moves.swap_out);
  next.swap_in = std::move(moves.swap_in);
  next.copies = std::move(moves.copies);
  next.blocks.seals = std::move(moves.seals);
  next.blocks.restores = std::move(moves.restores);
  if (parts_.fetcher != nullptr) parts_.fetcher->fill(next.blocks);
  return next;
}

Result<void> LeadLoop::step(const StepPlan& plan) {
  const SteadyTime start = std::chrono::steady_clock::now();
  if (parts_.ranks.size() > 1) {
    if (auto sent = parts_.ranks.announce_plan(to_bytes(plan)); !sent)
      return monitoring::fail(Errc::rank_lost, sent.error().message);
  }
  const SteadyTime announced = std::chrono::steady_clock::now();
  auto result = parts_.executor.execute(plan, &director_);
  if (!result) return tl::unexpected(result.error());
  compression_.settle(*result, parts_.cache);
  for (const SequenceStep& rows : plan.sequences)  // of a round it is known below what stands
    if (rows.round.max_draft == 0) parts_.cache.commit(rows.sequence, rows.tokens);
  const SteadyTime executed = std::chrono::steady_clock::now();
  if (parts_.fetcher != nullptr) {
    parts_.fetcher->polled(plan.blocks, result->polled);
    parts_.fetcher->stepped(plan, static_cast<double>(result->forward_us) * 1e-6);
  }
  sample(plan, *result);
  const SteadyTime end = std::chrono::steady_clock::now();
  parts_.metrics.step[StepStage::announce].observe(seconds_between(start, announced));
  const double drafting = static_cast<double>(result->draft_us) * 1e-6;
  parts_.metrics.step[StepStage::draft].observe(drafting);
  parts_.metrics.step[StepStage::forward].observe(seconds_between(announced, executed) - drafting);
  parts_.metrics.step[StepStage::sample].observe(seconds_between(executed, end));
  account(plan, seconds_between(start, end));
  parts_.metrics.swapped_pages[SwapDirection::out].inc(static_cast<double>(plan.swap_out.size()));
  parts_.metrics.swapped_pages[SwapDirection::in].inc(static_cast<double>(plan.swap_in.size()));
  parts_.metrics.steps.inc();
  ++step_;
  parts_.status.steps = step_;
  parts_.status.last_step_us = WorkerStatus::now_us();
  return {};
}

void LeadLoop::account(const StepPlan& plan, double seconds) {
  StepAccount step;
  step.us = seconds * 1e6;
  for (const SequenceStep& rows : plan.sequences) {
    step.speculated = step.speculated || rows.round.max_draft > 0 || rows.round.shadows;
    step.mixed = step.mixed || rows.tokens.size() > 1 || rows.logits == LogitsWanted::none;
  }
  director_.end_step(step);
}

// All rows of the step in one launch. Row j of a round counts only if every draft before it stands, so its
// history is known before the others are settled.
void LeadLoop::sample_on_device(const StepPlan& plan, const StepResult& result) {
  struct Asked {
    SequenceId sequence;
    const DraftedRound* round;  // null: a plain row
    std::size_t first, rows;    // of what was chosen
  };
  std::vector<Asked> asked;
  std::size_t rows = 0;
  chooser_.begin(result.logits);
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    if (result.first_row[i] < 0) continue;
    const Sequence& sequence = *table_.find(plan.sequences[i].sequence);
    const DraftedRound* round = plan.sequences[i].round.max_draft > 0 ? &result.rounds[i] : nullptr;
    std::span<const std::int32_t> drafts;
    if (round != nullptr) drafts = std::span(round->inputs).subspan(1);
    const bool probe =
        round != nullptr ? director_.wants_round_probe(sequence) : director_.wants_probe(sequence);
    for (std::size_t row = 0; row <= drafts.size(); ++row)
      chooser_.add(result.first_row[i] + static_cast<std::int32_t>(row),
                   sampler_.row_of(sequence, drafts.first(row)), sequence.sampling, probe);
    asked.push_back({sequence.id, round, rows, drafts.size() + 1});
    rows += drafts.size() + 1;
  }
  const std::span<ChosenRow> all = chooser_.choose();
  for (const Asked& a : asked) {
    Sequence& sequence = *table_.find(a.sequence);
    const std::span<ChosenRow> chosen = all.subspan(a.first, a.rows);
    if (a.round == nullptr) {
      if (!chosen[0].row.no_candidate) director_.saw_plain(sequence, chosen[0].row.token, chosen[0].reading);
      deliver_or_fail(sequence, std::move(chosen[0].row), 0, std::chrono::steady_clock::now());
      continue;
    }
    std::vector<SampledRow> own =
        win(sequence, *a.round, [&](std::size_t row, auto) { return chosen[row].row; });
    std::vector<policy::ProbeReading> readings;
    for (std::size_t row = 0; row < own.size() && director_.wants_round_probe(sequence); ++row)
      readings.push_back(chosen[row].reading);
    director_.close(sequence, *a.round, own, readings);
    deliver_round(sequence, *a.round, std::move(own));
  }
}

void LeadLoop::sample(const StepPlan& plan, const StepResult& result) {
  if (result.logits_on_device) return sample_on_device(plan, result);
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    if (result.first_row[i] < 0) continue;
    Sequence& sequence = *table_.find(plan.sequences[i].sequence);
    const ConstFloatMatrix& all = result.logits;
    const float* first = all.row(result.first_row[i]);
    if (plan.sequences[i].round.max_draft > 0)
      settle(sequence, result.rounds[i],
             {first, static_cast<std::int64_t>(result.rounds[i].inputs.size()), all.cols, all.row_stride});
    else
      sample_last(sequence, {first, static_cast<std::size_t>(all.cols)});
  }
}

void LeadLoop::sample_last(Sequence& sequence, std::span<const float> logits) {
  SampledRow sampled = sampler_.sample(sequence, {}, logits, sequence.sampling);
  if (!sampled.no_candidate) director_.saw_plain(sequence, logits, sampled.token);
  deliver_or_fail(sequence, std::move(sampled), 0, std::chrono::steady_clock::now());
}

// Every row that stands is sampled on its own prefix, as a plain step would have; then its tokens go out in
// order, the last of which may end the sequence.
void LeadLoop::settle(Sequence& sequence, const DraftedRound& round, ConstFloatMatrix logits) {
  std::vector<SampledRow> own = win(sequence, round, [&](std::size_t row, auto won) {
    return sampler_.sample(
        sequence, won, {logits.row(static_cast<std::int64_t>(row)), static_cast<std::size_t>(logits.cols)},
        sequence.sampling);
  });
  director_.close(sequence, round, own, logits);
  deliver_round(sequence, round, std::move(own));
}

std::vector<SampledRow> LeadLoop::win(const Sequence& sequence, const DraftedRound& round,
                                      const RowSampler& sample) {
  std::vector<SampledRow> own;
  std::vector<std::int32_t> won;
  const std::size_t stand = settle_round(round.inputs, [&](std::size_t row) {
    SampledRow sampled = sample(row, won);
    won.push_back(sampled.token);
    own.push_back(std::move(sampled));
    const bool last = own.back().no_candidate || is_stop(sequence, won.back()) ||
                      sequence.generated() + won.size() >= sequence.max_tokens;
    return OwnToken{won.back(), last};
  });
  parts_.cache.commit(sequence.id, std::span(round.inputs).first(stand));
  return own;
}

void LeadLoop::deliver_round(Sequence& sequence, const DraftedRound& round, std::vector<SampledRow> own) {
  const SteadyTime now = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < own.size(); ++i) {
    const std::int32_t draft_layer = draft_layer_of(round, i, own[i].token);
    deliver_or_fail(sequence, std::move(own[i]), draft_layer, now);
  }
}

void LeadLoop::deliver_or_fail(Sequence& sequence, SampledRow row, std::int32_t draft_layer, SteadyTime now) {
  if (row.no_candidate)
    finish(sequence.id, FinishReason::failed, "every token is banned or has no probability");
  else
    deliver(sequence, std::move(row), draft_layer, now);
}

void LeadLoop::deliver(Sequence& sequence, SampledRow row, std::int32_t draft_layer, SteadyTime now) {
  const std::int32_t token = row.token;
  if (!sequence.first_token) sequence.first_token = now;
  sequence.last_token = now;
  sequence.tokens.push_back(token);
  parts_.metrics.sequence_tokens[TokenKind::generated].inc();
  parts_.outbox.push_token(sequence.link, sequence.request, sequence.generated() - 1,
                           to_wire(std::move(row), draft_layer));
  if (is_stop(sequence, token))
    finish(sequence.id, FinishReason::stop, {}, token);
  else if (sequence.generated() >= sequence.max_tokens)
    finish(sequence.id, FinishReason::length);
}

void LeadLoop::finish(SequenceId id, FinishReason reason, std::string message, std::int32_t stop_token) {
  const Sequence& sequence = *table_.find(id);
  const SteadyTime now = std::chrono::steady_clock::now();
  transport::Finish finish;
  finish.request = sequence.request;
  finish.reason = reason;
  finish.message = std::move(message);
  finish.stop_token = stop_token;
  finish.prompt_tokens = sequence.prompt_tokens;
  finish.cached_tokens = sequence.cached_tokens;
  finish.kv = sequence.kv_story;
  finish.generated_tokens = sequence.generated() - sequence.resumed_tokens;
  finish.preemptions = sequence.preemptions;
  const SpeculationCounts speculation = director_.counts(id);
  finish.speculation_rounds = static_cast<std::uint32_t>(speculation.rounds);
  finish.drafted_tokens = static_cast<std::uint32_t>(speculation.drafted);
  finish.accepted_tokens = static_cast<std::uint32_t>(speculation.accepted);
  const SteadyTime scheduled = sequence.first_scheduled.value_or(now);
  const SteadyTime first = sequence.first_token.value_or(now);
  finish.queue_us = us_between(sequence.received, scheduled);
  finish.prefill_us = us_between(scheduled, first);
  finish.decode_us = us_between(first, sequence.last_token.value_or(now));
  parts_.metrics.sequences_finished[end_of(reason)].inc();
  parts_.outbox.push_finish(sequence.link, std::move(finish));
  director_.forget(id);
  if (parts_.fetcher != nullptr) parts_.fetcher->forget(id);
  parts_.cache.release(id);
  compression_.remove(id);
  live_.erase(id);
  table_.erase(id);
}

void LeadLoop::publish_status() {
  std::uint32_t running = 0, fresh = 0, swapped = 0, passed_over = 0;
  std::uint64_t waiting_tokens = 0;
  for (const auto& [id, sequence] : table_.all()) {
    const SequenceState state = live_.at(id).state;
    running += state == SequenceState::running;
    swapped += state == SequenceState::swapped;
    fresh += state == SequenceState::waiting;
    passed_over += state == SequenceState::waiting && live_.at(id).arrival_step < step_;
    if (state == SequenceState::waiting) waiting_tokens += sequence.tokens.size();
  }
  const CacheUsage usage = parts_.cache.usage();
  WorkerStatus& status = parts_.status;
  status.running = running;
  status.waiting = fresh + swapped;
  status.waiting_tokens = waiting_tokens;
  status.pages_used = usage.used;
  status.pages_total = usage.pages;
  if (parts_.fetcher != nullptr) parts_.fetcher->publish();
  const bool busy = !live_.empty();
  if (busy && !status.busy.load()) status.last_step_us = WorkerStatus::now_us();  // the wait begins now
  status.busy = busy;
  const WorkerMetrics& metrics = parts_.metrics;
  metrics.sequences_running.set(running);
  // A place is free and a step has gone by without it: what it waits for is pages.
  const std::uint32_t short_of_pages = running < limits_.scheduler.max_sequences ? passed_over : 0;
  metrics.sequences_waiting[SequenceWait::pages].set(short_of_pages);
  metrics.sequences_waiting[SequenceWait::swapped].set(swapped);
  metrics.sequences_waiting[SequenceWait::inbox].set(static_cast<double>(parts_.inbox.waiting_requests()) +
                                                     fresh - short_of_pages);
  metrics.kv_pages[KvPageState::free].set(usage.free);
  metrics.kv_pages[KvPageState::reusable].set(usage.reusable);
  metrics.kv_pages[KvPageState::used].set(usage.used);
}

}  // namespace leadline::worker
