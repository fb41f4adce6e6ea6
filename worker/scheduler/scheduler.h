#pragma once
// Scheduler: which sequences run with how many tokens in the next step, who is admitted, resumed or
// preempted. One pure function of values: no clock, no pages, no tokens. Not the executor: the step loop
// applies a Schedule through SequenceCache. Thread: any.
//
// Order. Every sequence has one rank for life: (arrival_step - priority * aging_steps, arrival). A level of
// priority is thus worth aging_steps steps of waiting, and whoever waits is overtaken by finitely many: no
// starvation. The first in rank is never preempted, so it always advances, and all work finishes.
//
// Tokens. Decodes first, one token each, in every step: a decode waits for at most one step of
// max_step_tokens tokens. The rest of the budget goes to prefills in rank order, in equal shares of at least
// min_chunk_tokens.
//
// Drafts. A decode may ask for rows of drafts beside its own. They take what decodes leave, at most half of
// it while prefills wait, at most max_draft_rows, and only pages that nobody else needs in this step: a draft
// never preempts, and never costs a prefill its progress. They are cut before anything else is.
//
// Pages. A sequence that needs pages takes them from the free and reusable ones, else from sequences of lower
// rank, last first: swapped out if the host has room, else dropped (its tokens are computed again). The last
// in rank keeps its pages and waits.
//
// Admission. In rank order, swapped and waiting alike, up to the first that does not fit: no new sequence
// passes a swapped one that outranks it (of equal priority: any swapped one), nor one that waits for pages. A
// sequence whose next min_chunk_tokens or more a running one is about to compute waits for them, and others
// pass it: nothing is computed twice, and it goes on as soon as they are there or their maker has left. A
// sequence fits if its known tokens and all those that running ones have still to compute fit, with one page
// to spare per running sequence. It may push out running ones of both lower rank and strictly lower priority.
//
// A preempted sequence's answer stays ==: its tokens are kept, never sampled again; swapped, the same bytes
// return in the same slot order; dropped, its tokens run again as prompt chunks, whose bits do not depend on
// chunking, batch or where earlier KV is from (X1, X3).

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "worker/sequence_id.h"

namespace leadline::worker {

enum class SequenceState : std::uint8_t {
  waiting,  // holds no page; new, or dropped
  running,  // its KV so far is on the device
  swapped,  // its KV so far is in host slots
};

struct SequenceView {
  SequenceId id;
  SequenceState state = SequenceState::waiting;
  std::uint64_t arrival = 0;          // unique, ascending; kept over preemptions
  std::uint64_t arrival_step = 0;     // step counter when it arrived
  std::int32_t priority = 0;          // higher first
  std::uint32_t known_tokens = 0;     // prompt + generated
  std::uint32_t computed_tokens = 0;  // with KV; waiting: the prefix hit it would have (0 is safe)
  std::uint32_t soon_tokens = 0;      // waiting: beyond computed, tokens that a running one computes first
  std::uint32_t device_pages = 0;     // held; waiting: pages of the hit that others hold (0 is safe)
  std::uint32_t sole_pages = 0;       // running: of device_pages, held by nobody else
  std::uint32_t tail_copies = 0;      // running: 1 if its last page must be copied before it is written
  std::uint32_t host_pages = 0;       // swapped
  std::uint32_t draft_tokens = 0;     // running decodes: rows of drafts that it would run in this step
};

struct SchedulerLimits {
  std::uint32_t max_sequences = 64;     // on the device at once
  std::uint32_t max_step_tokens = 512;  // rows of one step; REQUIRES >= max_sequences
  std::uint32_t min_chunk_tokens = 64;  // of a prefill, unless prompt or budget end; REQUIRES > 0
  std::uint32_t aging_steps = 256;      // steps of waiting that outweigh one level of priority
  std::uint32_t total_pages = 0;        // of the pool; REQUIRES > 0
  std::uint32_t max_draft_rows = 0;     // of one step, all sequences together
};

struct CacheView {
  std::uint32_t available_pages = 0;  // free + reusable
  std::uint32_t host_free = 0;        // swap slots
};

struct ScheduledSequence {
  SequenceId id;
  std::uint32_t tokens = 0;  // from computed on, >= 1; admitted: at most what its real hit leaves
  std::uint32_t drafts = 0;  // rows beside them, with room for their KV; at most the view's draft_tokens
  friend bool operator==(const ScheduledSequence&, const ScheduledSequence&) = default;
};

// Apply in the order of the fields. A sequence is in at most one of the first five; `run` holds running ones
// and those of swap_in and admit. If a reserve fails after all (the view was stale), leave that sequence out
// of the step: nothing else depends on it.
struct Schedule {
  std::vector<SequenceId> unfit;     // can never fit the pool: finish them with an error
  std::vector<SequenceId> drop;      // preempted, to be computed again: release and add again; state waiting
  std::vector<SequenceId> swap_out;  // preempted to the host; state swapped
  std::vector<SequenceId> swap_in;   // state running
  std::vector<SequenceId> admit;     // state running
  std::vector<ScheduledSequence> run;  // rank order
};

// Somebody else is computing what this waiting sequence would compute next.
bool waits_for_prefix(const SequenceView& view, const SchedulerLimits& limits);

// "" or the sentence that says which limit is wrong.
std::string check(const SchedulerLimits& limits);

// Deterministic; independent of the order of `sequences`. REQUIRES: check(limits) == "", unique ids and
// arrivals, computed_tokens < known_tokens for all.
Schedule schedule(std::span<const SequenceView> sequences, const CacheView& cache,
                  const SchedulerLimits& limits);

}  // namespace leadline::worker
