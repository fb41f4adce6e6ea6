#include "coordinator/dispatcher.h"

#include <algorithm>

#include "coordinator/routing/router.h"
#include "monitoring/check.h"
#include "monitoring/log.h"

namespace leadline::coordinator {

struct Dispatcher::Entry final : GenerationSink {
  Entry(Dispatcher& owner, GenerationHandle h, Submission s)
      : dispatcher(owner),
        handle(h),
        submission(std::move(s)),
        generation(std::move(submission.spec), owner.tokenizer_) {}

  void on_tokens(transport::TokenBatch batch) override;
  void on_finish(transport::Finish finish) override;
  void on_link_lost(const std::string& why) override;

  void settle_pending() {  // its prompt is computed, or will not be
    if (pending == 0) return;
    auto& sum = dispatcher.pending_tokens_[worker.value];
    sum -= std::min<std::uint64_t>(sum, pending);
    pending = 0;
  }
  void abandon() {
    if (!on_link) return;
    on_link = false;
    settle_pending();
    if (WorkerLink* link = dispatcher.fleet_->link(worker)) link->abandon(request);
  }

  Dispatcher& dispatcher;
  const GenerationHandle handle;
  Submission submission;
  Generation generation;
  std::vector<std::uint64_t> hashes;
  std::string fingerprint;     // of the model that made the first tokens: a continuation needs the same
  transport::WorkerId worker;  // of the last placement
  transport::RequestId request;
  std::optional<transport::WorkerId> avoid;
  std::uint64_t queued_ms = 0, placed_ms = 0, first_token_ms = 0, last_token_ms = 0, stopping_ms = 0;
  std::uint64_t pending = 0;
  bool on_link = false, queued = false, buried = false, placed_before = false;
};

void Dispatcher::Entry::on_tokens(transport::TokenBatch batch) {
  if (buried) return;
  settle_pending();
  const bool first = !generation.has_streamed();
  auto progress = generation.on_tokens(batch);
  if (progress.protocol_fault) {
    monitoring::log_error("worker_broke_protocol", {{"worker", worker.value}, {"what", "token indices"}});
    abandon();
    return dispatcher.act(
        *this,
        generation.on_link_lost(dispatcher.worker_ready_for(*this, false), dispatcher.limits_.placements),
        "protocol");
  }
  const std::uint64_t now = dispatcher.now_ms_();
  const auto made = progress.delta.tokens.size();
  if (made == 0) return;
  if (first) {
    first_token_ms = now;
    dispatcher.metrics_.ttft.observe(static_cast<double>(now - submission.received_ms) / 1e3);
  }
  const std::size_t gaps = first ? made - 1 : made;
  for (std::size_t i = 0; i < gaps; ++i) {
    const double gap = static_cast<double>(now - (last_token_ms == 0 ? now : last_token_ms)) / 1e3;
    dispatcher.metrics_.inter_token.observe(gap / static_cast<double>(gaps));
  }
  last_token_ms = now;
  dispatcher.metrics_.generation_tokens.inc(static_cast<double>(made));
  dispatcher.engine_totals_.add_tokens(progress.delta.tokens);
  if (progress.stop_met) {
    stopping_ms = now;
    if (WorkerLink* link = dispatcher.fleet_->link(worker)) link->cancel(request);
  }
  const auto client = submission.client;  // on_delta may cancel us
  client->on_delta(submission.choice, std::move(progress.delta));
}

void Dispatcher::Entry::on_finish(transport::Finish finish) {
  if (buried) return;
  on_link = false;
  settle_pending();
  if (finish.reason == transport::FinishReason::overloaded) {
    dispatcher.paused_until_ms_[worker.value] = dispatcher.now_ms_() + dispatcher.limits_.hand_back_pause_ms;
    avoid = worker;
  }
  // A placement that failed on a worker that lives is retried like a lost one: elsewhere, once.
  if (finish.reason == transport::FinishReason::failed) {
    avoid = worker;
    return dispatcher.act(
        *this,
        generation.on_link_lost(dispatcher.worker_ready_for(*this, false), dispatcher.limits_.placements),
        "worker_failed");
  }
  dispatcher.act(*this, generation.on_finish(finish, dispatcher.limits_.placements), "finish");
}

void Dispatcher::Entry::on_link_lost(const std::string& why) {
  if (buried) return;
  on_link = false;
  settle_pending();
  avoid = worker;
  dispatcher.note_loss(worker);
  dispatcher.act(
      *this,
      generation.on_link_lost(dispatcher.worker_ready_for(*this, false), dispatcher.limits_.placements),
      "link_lost");
}

Dispatcher::Dispatcher(const Limits& limits, const Tokenizer& tokenizer, const CoordinatorMetrics& metrics,
                       std::function<std::uint64_t()> now_ms, std::function<void()> wake)
    : limits_(limits),
      tokenizer_(tokenizer),
      metrics_(metrics),
      now_ms_(std::move(now_ms)),
      wake_(std::move(wake)),
      history_(limits.prefix_blocks) {}

Dispatcher::~Dispatcher() {
  if (fleet_ == nullptr) return;
  for (auto& [handle, entry] : entries_) entry->abandon();
}

Dispatcher::QueueKey Dispatcher::key_of(const Entry& entry) const {
  return {entry.placed_before ? 0 : 1, -entry.generation.spec().request.priority, entry.handle};
}

void Dispatcher::enqueue(Entry& entry) {
  entry.queued = true;
  entry.queued_ms = now_ms_();
  waiting_tokens_ += entry.generation.spec().request.prompt.size();
  queue_.emplace(key_of(entry), &entry);
}

void Dispatcher::dequeue(Entry& entry) {
  if (!entry.queued) return;
  entry.queued = false;
  waiting_tokens_ -= entry.generation.spec().request.prompt.size();
  queue_.erase(key_of(entry));
}

bool Dispatcher::any_ready_worker() const {
  return fleet_ != nullptr && fleet_->snapshot().ready_workers() > 0;
}

bool Dispatcher::worker_ready_for(const Entry& entry, bool count_own) const {
  for (const WorkerView& view : fleet_->snapshot().workers) {
    if ((count_own || view.id != entry.worker) && view.ready() && view.model_fingerprint == entry.fingerprint)
      return true;
  }
  return false;
}

AdmissionDecision Dispatcher::admit(const AdmissionAsk& ask) const {
  AdmissionLoad load;
  load.preparing = static_cast<std::size_t>(std::max(preparing_, 0));
  load.waiting_sequences = queue_.size();
  load.waiting_tokens = waiting_tokens_;
  load.running_sequences = running();
  load.draining = draining_;
  load.any_worker_expected = fleet_ != nullptr && !fleet_->snapshot().workers.empty();
  if (fleet_ != nullptr) {
    for (const WorkerView& view : fleet_->snapshot().workers) {
      if (view.ready()) load.slots += view.max_sequences;
    }
  }
  if (recent_ends_ms_.size() > 1) {
    const double span_s = static_cast<double>(now_ms_() - recent_ends_ms_.front() + 1) / 1e3;
    load.finished_per_s = static_cast<double>(recent_ends_ms_.size()) / span_s;
  }
  return decide_admission(load, ask, limits_);
}

GenerationHandle Dispatcher::submit(Submission submission) {
  const GenerationHandle handle = next_handle_++;
  auto entry = std::make_unique<Entry>(*this, handle, std::move(submission));
  const auto& request = entry->generation.spec().request;
  entry->hashes = prefix_hashes(request.prompt, request.tenant_salt);
  Entry& ref = *entry;
  entries_.emplace(handle, std::move(entry));
  enqueue(ref);
  wake_();
  return handle;
}

void Dispatcher::cancel(GenerationHandle handle) {
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return;
  Entry& entry = *found->second;
  entry.generation.cancel();
  entry.abandon();
  dequeue(entry);
  observe_end(entry);
  bury(entry);
  wake_();
}

std::optional<transport::WorkerId> Dispatcher::route(Entry& entry, const FleetSnapshot& fleet) const {
  std::vector<RouteCandidate> candidates;
  const std::uint64_t now = now_ms_();
  for (const WorkerView& view : fleet.workers) {
    RouteCandidate candidate;
    candidate.id = view.id;
    const auto paused = paused_until_ms_.find(view.id.value);
    candidate.ready = view.ready() && (paused == paused_until_ms_.end() || paused->second <= now) &&
                      (!entry.generation.has_streamed() || view.model_fingerprint == entry.fingerprint);
    candidate.in_flight = view.in_flight;
    candidate.capacity = view.max_sequences + limits_.worker_surplus;
    const auto pending = pending_tokens_.find(view.id.value);
    candidate.pending_tokens =
        std::max(view.waiting_tokens, pending == pending_tokens_.end() ? 0 : pending->second);
    candidate.known_prefix_tokens = history_.known_tokens(view.id, entry.hashes);
    candidate.session = entry.submission.session_worker == view.id;
    candidates.push_back(candidate);
  }
  RouteQuery query;
  query.prompt_tokens = static_cast<std::uint32_t>(entry.generation.spec().request.prompt.size());
  query.avoid = entry.avoid;
  return choose_worker(candidates, query);
}

bool Dispatcher::place(Entry& entry, const FleetSnapshot& fleet) {
  const auto chosen = route(entry, fleet);
  if (!chosen) return false;
  WorkerLink* link = fleet_->link(*chosen);
  if (link == nullptr) return false;
  const std::uint64_t now = now_ms_();
  std::uint64_t left = 0;
  if (entry.submission.deadline_at_ms != 0) {
    left = entry.submission.deadline_at_ms > now ? entry.submission.deadline_at_ms - now : 1;
  }
  dequeue(entry);
  auto sent = link->generate(entry.generation.place(left), entry);
  if (!sent) {
    entry.generation.unplace();
    enqueue(entry);
    paused_until_ms_[chosen->value] = now + limits_.hand_back_pause_ms;
    return false;
  }
  entry.worker = *chosen;
  entry.request = *sent;
  entry.on_link = true;
  entry.placed_ms = now;
  entry.placed_before = true;
  if (const WorkerView* view = fleet.find(*chosen)) entry.fingerprint = view->model_fingerprint;
  entry.pending = entry.generation.spec().request.prompt.size();
  pending_tokens_[chosen->value] += entry.pending;
  history_.note(*chosen, entry.hashes);
  entry.submission.client->on_placed(entry.submission.choice);
  return true;
}

void Dispatcher::pump() {
  if (fleet_ == nullptr) return;
  // In order; the first that finds no place stops the rest, so that nothing large starves behind small ones.
  // Continuations that need a particular model may wait without holding the others up.
  for (auto it = queue_.begin(); it != queue_.end();) {
    Entry& entry = *it->second;
    ++it;
    const FleetSnapshot& fleet = fleet_->snapshot();
    if (!place(entry, fleet) && !entry.generation.has_streamed()) break;
  }
  refresh_gauges();
}

void Dispatcher::note_loss(transport::WorkerId worker) {
  history_.forget(worker);
  pending_tokens_.erase(worker.value);
  paused_until_ms_.erase(worker.value);
}

void Dispatcher::act(Entry& entry, Generation::PlacementEnd placement_end, std::string why) {
  wake_();  // a slot is free, or something waits
  switch (placement_end.next) {
    case Generation::Next::requeue:
      monitoring::log_info("request_requeued", {{"request_id", entry.generation.spec().request.trace_id},
                                                {"why", why},
                                                {"tokens", entry.generation.tokens().size()}});
      if (entry.generation.has_streamed()) metrics_.migrations[MigrationOutcome::continued].inc();
      enqueue(entry);
      return;
    case Generation::Next::fail:
      if (why == "link_lost") metrics_.migrations[MigrationOutcome::no_worker].inc();
      return end(entry);
    case Generation::Next::ended:
      if (!placement_end.tail.empty()) {
        Delta delta;
        delta.text = std::move(placement_end.tail);
        const auto client = entry.submission.client;
        client->on_delta(entry.submission.choice, std::move(delta));
      }
      if (!entry.buried) end(entry);
  }
}

void Dispatcher::end(Entry& entry) {
  dequeue(entry);
  observe_end(entry);
  const auto client = entry.submission.client;
  // Out of entries_ first: on_end may submit or cancel.
  bury(entry);
  client->on_end(entry.submission.choice, entry.generation, entry.worker);
}

void Dispatcher::bury(Entry& entry) {
  const auto found = entries_.find(entry.handle);
  LEADLINE_CHECK(found != entries_.end(), "buried twice");
  entry.buried = true;
  graveyard_.push_back(std::move(found->second));
  entries_.erase(found);
}

void Dispatcher::observe_end(const Entry& entry) {
  const GenerationResult& result = entry.generation.result();
  const std::uint64_t now = now_ms_();
  metrics_.requests_finished[result.outcome].inc();
  recent_ends_ms_.push_back(now);
  if (recent_ends_ms_.size() > 64) recent_ends_ms_.pop_front();
  if (entry.first_token_ms == 0) return;
  metrics_.e2e.observe(static_cast<double>(now - entry.submission.received_ms) / 1e3);
  const double waited_s = static_cast<double>(entry.placed_ms - entry.submission.received_ms) / 1e3;
  metrics_.queue.observe(waited_s + static_cast<double>(result.queue_us) / 1e6);
  if (result.prefill_us > 0) metrics_.prefill.observe(static_cast<double>(result.prefill_us) / 1e6);
  metrics_.decode.observe(static_cast<double>(entry.last_token_ms - entry.first_token_ms) / 1e3);
  engine_totals_.add_end(result);
  metrics_.prompt_tokens[PromptSource::cached].inc(result.cached_tokens);
  metrics_.prompt_tokens[PromptSource::computed].inc(
      static_cast<double>(result.prompt_tokens - std::min(result.cached_tokens, result.prompt_tokens)));
}

void Dispatcher::fail_entry(Entry& entry, Outcome outcome, Error error) {
  entry.abandon();
  entry.generation.fail(outcome, std::move(error));
  end(entry);
}

void Dispatcher::expire(Entry& entry, std::uint64_t now) {
  const std::uint64_t deadline = entry.submission.deadline_at_ms;
  if (deadline != 0 && now >= deadline && (entry.queued || now >= deadline + limits_.stop_grace_ms)) {
    return fail_entry(
        entry, Outcome::deadline,
        Error{Errc::request_timeout, "deadline_ms ran out before the answer was complete", "deadline_ms"});
  }
  if (entry.generation.state() == GenerationState::stopping &&
      now >= entry.stopping_ms + limits_.stop_grace_ms) {
    entry.abandon();
    entry.generation.finish_stop();
    return end(entry);
  }
  if (!entry.queued) return;
  if (entry.generation.has_streamed() && !worker_ready_for(entry, true)) {
    metrics_.migrations[MigrationOutcome::no_worker].inc();
    return fail_entry(entry, Outcome::failed,
                      Error{Errc::unavailable, "the worker was lost and no other is ready to go on", {}});
  }
  const std::uint64_t limit = any_ready_worker() ? limits_.queue_timeout_ms : limits_.no_worker_timeout_ms;
  if (now >= entry.queued_ms + limit) {
    fail_entry(entry, Outcome::failed,
               Error{Errc::unavailable,
                     any_ready_worker() ? "no worker had room in time; try again later"
                                        : "no worker became ready in time",
                     {}});
  }
}

void Dispatcher::tick() {
  graveyard_.clear();
  const std::uint64_t now = now_ms_();
  std::vector<Entry*> all;
  all.reserve(entries_.size());
  for (auto& [handle, entry] : entries_) all.push_back(entry.get());
  for (Entry* entry : all) {
    if (!entry->buried) expire(*entry, now);  // buried ones live in the graveyard until the next tick
  }
  pump();
}

void Dispatcher::fail_all(const Error& error) {
  std::vector<Entry*> all;
  for (auto& [handle, entry] : entries_) all.push_back(entry.get());
  for (Entry* entry : all) {
    if (!entry->buried) fail_entry(*entry, Outcome::failed, error);
  }
}

void Dispatcher::refresh_gauges() {
  const bool ready = any_ready_worker();
  const auto waiting = static_cast<double>(queue_.size());
  metrics_.requests_running.set(static_cast<double>(running()));
  metrics_.requests_waiting[WaitReason::queue].set(ready ? waiting : 0);
  metrics_.requests_waiting[WaitReason::no_worker].set(ready ? 0 : waiting);
}

}  // namespace leadline::coordinator
