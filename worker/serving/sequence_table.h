#pragma once
// SequenceTable: token history and progress of every live sequence of rank 0. Not pages (kvcache) and not
// text. Thread: owned by the step thread; no locks. Invariants: a sequence is here from acceptance to its
// Finish; (link, request) names at most one; ids are never reused.

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "transport/control/messages.h"
#include "worker/sampling/sampler.h"
#include "worker/scheduler/step_plan.h"
#include "worker/serving/request_inbox.h"

namespace leadline::worker {

using SteadyTime = std::chrono::steady_clock::time_point;

struct Sequence {
  // constant after acceptance
  SequenceId id;
  LinkId link;
  transport::RequestId request;
  std::string trace_id;
  SamplingParams sampling;
  std::vector<std::int32_t> stop_ids;    // the model's eos (unless ignored) and the request's own
  std::vector<std::int32_t> banned_ids;  // never sampled
  std::int32_t allowed_vocab = 0;        // ids at or above are never sampled
  std::uint32_t prompt_tokens = 0;       // tokens[0, prompt_tokens) are the prompt
  std::uint32_t resumed_tokens = 0;      // generated tokens that came with the request (failover)
  std::uint32_t max_tokens = 0, min_tokens = 0;
  std::int32_t priority = 0;
  std::uint64_t arrival = 0;  // order of acceptance
  std::array<std::uint8_t, 32> salt{};
  transport::SpeculationWish speculation;
  transport::KvWish kv;
  SteadyTime received;
  std::optional<SteadyTime> deadline;
  // progress
  std::vector<std::int32_t> tokens;  // prompt, then generated
  std::uint32_t cached_tokens = 0;   // prompt tokens taken from the prefix cache or a tier at first admission
  transport::KvStory kv_story;       // where these came from
  std::uint32_t preemptions = 0;
  std::optional<SteadyTime> first_scheduled, first_token, last_token;

  [[nodiscard]] std::uint32_t generated() const {
    return static_cast<std::uint32_t>(tokens.size()) - prompt_tokens;
  }
};

class SequenceTable {
 public:
  Sequence& add(Sequence sequence);  // gives id and arrival; REQUIRES (link, request) not present
  [[nodiscard]] Sequence* find(SequenceId id);
  [[nodiscard]] Sequence* find(LinkId link, transport::RequestId request);
  [[nodiscard]] std::vector<SequenceId> of_link(LinkId link) const;
  void erase(SequenceId id);

  [[nodiscard]] std::size_t size() const { return sequences_.size(); }
  [[nodiscard]] std::map<SequenceId, Sequence>& all() { return sequences_; }  // in order of arrival

 private:
  std::map<SequenceId, Sequence> sequences_;
  std::map<std::pair<LinkId, transport::RequestId>, SequenceId> by_request_;
  std::uint64_t next_ = 1;
};

}  // namespace leadline::worker
