#pragma once
// Request intake: a Generate message -> a Sequence, or why not. Pure: no clock but the value passed in, no
// table, no pages. The coordinator validates for people; this validates for the engine, since a worker trusts
// nothing that it indexes with. Thread: any.

#include <cstdint>
#include <vector>

#include "worker/errc.h"
#include "worker/serving/sequence_table.h"

namespace leadline::worker {

struct IntakeLimits {
  std::uint32_t vocab = 0;          // the model's, padding included
  std::uint32_t max_model_len = 0;  // tokens, prompt and answer
  std::vector<std::int32_t> eos_ids;
  std::size_t max_logit_bias = 1024;  // entries
  std::size_t max_stop_ids = 256;
  std::size_t max_banned_ids = 65'536;
  std::int32_t max_top_logprobs = 20;
};

// configuration: names the field and its value. max_tokens is cut to what fits max_model_len.
Result<Sequence> intake(const InboxGenerate& item, const IntakeLimits& limits);

}  // namespace leadline::worker
