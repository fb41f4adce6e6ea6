#pragma once
// Round: the values of one draft-verify cycle of one sequence: what the plan asks for, and what drafting left
// behind. Not a decision. Thread: values; every rank makes the same ones. The words: pass j runs one token
// through layers 0..exit; pass 1 runs the last committed token, pass j+1 draft j; what a pass leaves with
// stays in a kept slot until verification, which runs the other layers over all of them at once.

#include <cstdint>
#include <vector>

#include "worker/backend/kv_view.h"
#include "worker/sequence_id.h"

namespace leadline::worker {

struct RoundStart {  // one drafting sequence of a step, as the plan says
  SequenceId sequence;
  std::int32_t last_token = 0;    // committed, without KV
  std::int32_t position = 0;      // its logical position
  std::int32_t kv_before = 0;     // slots before it
  KvTable kv;                     // holds kv_before + 1 + max_draft slots
  std::int32_t exit = 0;          // layers that a pass runs; of a climb: the first layer that asks
  std::int32_t max_draft = 0;     // drafts run at most; > 0
  bool climb = false;             // pass 1 asks at layers on its way where to leave
  std::int32_t shadow_slot = -1;  // of its first input: what passes the exits is kept; -1: not
};

struct DraftedRound {  // in the order of the starts
  std::int32_t exit = 0;
  std::vector<std::int32_t> inputs;  // the last committed token, then the drafts that ran
  std::vector<std::int32_t>
      kept_slots;  // of each input: the transformer's slot of its hidden state at `exit`
};

}  // namespace leadline::worker
