#pragma once
// Dispatcher: owns every generation from admission to its end: the waiting queue, the placements on workers,
// failover, deadlines, cancellation. Decides nothing itself: admission, router and Generation do, it acts.
// Not HTTP and not text. Thread: the I/O thread; clients are called there, never from inside submit() or
// cancel(). Invariants: every submitted generation ends in exactly one on_end or in cancel(); memory is
// bounded by Limits; a worker gets nothing unless the fleet calls it ready.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "coordinator/admission.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/engine_totals.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/generation.h"
#include "coordinator/routing/prefix_history.h"

namespace leadline::coordinator {

class GenerationClient {
 public:
  virtual ~GenerationClient() = default;
  virtual void on_placed(std::uint32_t) {}
  virtual void on_delta(std::uint32_t choice, Delta delta) = 0;
  virtual void on_end(std::uint32_t choice, const Generation& generation, transport::WorkerId worker) = 0;
};

struct Submission {
  GenerationSpec spec;
  std::uint32_t choice = 0;  // passed back to the client
  std::shared_ptr<GenerationClient>
      client;  // shared with the HTTP exchange: either side may end first (Asio lifetime)
  std::optional<transport::WorkerId> session_worker;
  std::uint64_t received_ms = 0;     // of the HTTP request
  std::uint64_t deadline_at_ms = 0;  // 0 = none
};

using GenerationHandle = std::uint64_t;

class Dispatcher {
 public:
  // fleet may be null until set_fleet. All references outlive the dispatcher. wake: asks for a pump() soon,
  // never calls it at once.
  Dispatcher(const Limits& limits, const Tokenizer& tokenizer, const CoordinatorMetrics& metrics,
             std::function<std::uint64_t()> now_ms, std::function<void()> wake);
  ~Dispatcher();

  void set_fleet(Fleet* fleet) { fleet_ = fleet; }
  AdmissionDecision admit(const AdmissionAsk& ask) const;
  GenerationHandle submit(Submission submission);
  void cancel(GenerationHandle handle);  // the client hears nothing more; unknown handles are ignored

  void pump();  // places what can be placed; call when the fleet changed
  void tick();  // deadlines and timeouts; call every 50 ms or so
  void preparing(int change) { preparing_ += change; }
  void drain() { draining_ = true; }
  void fail_all(const Error& error);  // insist: every generation ends now
  bool idle() const { return entries_.empty() && preparing_ == 0; }
  std::size_t waiting() const { return queue_.size(); }
  std::size_t running() const { return entries_.size() - queue_.size(); }
  bool any_ready_worker() const;
  bool draining() const { return draining_; }
  const EngineTotals& engine_totals() const { return engine_totals_; }
  // Of this moment; null while there is no fleet. Valid until control returns to the event loop.
  const FleetSnapshot* fleet_snapshot() const { return fleet_ == nullptr ? nullptr : &fleet_->snapshot(); }

 private:
  struct Entry;
  friend struct Entry;
  using QueueKey =
      std::tuple<int, std::int32_t, std::uint64_t>;  // continuations first, then priority, then arrival

  QueueKey key_of(const Entry& entry) const;
  void enqueue(Entry& entry);
  void dequeue(Entry& entry);
  bool place(Entry& entry, const FleetSnapshot& fleet);
  std::optional<transport::WorkerId> route(Entry& entry, const FleetSnapshot& fleet) const;
  void note_loss(transport::WorkerId worker);
  void end(Entry& entry);  // tells the client, counts, buries
  void fail_entry(Entry& entry, Outcome outcome, Error error);
  void bury(Entry& entry);
  void act(Entry& entry, Generation::PlacementEnd placement_end, std::string why);
  void observe_end(const Entry& entry);
  void refresh_gauges();
  bool worker_ready_for(const Entry& entry, bool count_own) const;
  void expire(Entry& entry, std::uint64_t now);

  // constant after construction
  const Limits& limits_;
  const Tokenizer& tokenizer_;
  const CoordinatorMetrics& metrics_;
  const std::function<std::uint64_t()> now_ms_;
  const std::function<void()> wake_;
  // owned by the I/O thread
  Fleet* fleet_ = nullptr;
  PrefixHistory history_;
  std::unordered_map<GenerationHandle, std::unique_ptr<Entry>> entries_;
  std::map<QueueKey, Entry*> queue_;
  std::vector<std::unique_ptr<Entry>> graveyard_;  // ended inside their own callback; freed at the next tick
  std::unordered_map<std::uint32_t, std::uint64_t> paused_until_ms_;  // workers that handed work back
  std::unordered_map<std::uint32_t, std::uint64_t>
      pending_tokens_;                        // prompts sent to a worker and without a first token
  std::deque<std::uint64_t> recent_ends_ms_;  // for Retry-After; at most 64
  EngineTotals engine_totals_;
  GenerationHandle next_handle_ = 1;
  std::size_t waiting_tokens_ = 0;
  int preparing_ = 0;
  bool draining_ = false;
};

}  // namespace leadline::coordinator
