#pragma once
// Generation: the state machine of one choice of one request, from waiting to its end: what was delivered,
// whether a stop string was met, what a handed back or lost placement means. Does no I/O and reads no clock;
// the dispatcher feeds it and acts on what it says. Thread: the I/O thread. Invariants: tokens() is exactly
// what was delivered, in order, none twice; after a stop nothing is added; a lost worker continues from
// tokens() with the same seed and positions; at most one continuation after tokens were delivered.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/coordinator_metrics.h"
#include "coordinator/errc.h"
#include "coordinator/text/stream_decoder.h"
#include "transport/control/messages.h"

namespace leadline::coordinator {

struct GenerationSpec {
  transport::Generate request;  // `generated` empty; deadline_ms counted from receipt
  std::vector<std::string> stops;
  bool skip_special_tokens = true;
};

enum class GenerationState { queued, placed, streaming, stopping, done, failed, cancelled };

struct Delta {       // what one batch adds to the answer
  std::string text;  // whole UTF-8; shorter than the tokens' own text while a stop string may be forming
  std::vector<transport::SampledToken> tokens;
};

struct GenerationResult {
  Outcome outcome = Outcome::failed;
  Error error;                             // when outcome is neither stop nor length
  std::optional<std::size_t> stop_string;  // index in GenerationSpec::stops
  transport::TokenId stop_token = -1;
  std::uint32_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;       // generated: delivered only
  transport::KvStory kv;                                                          // of the last placement
  std::uint32_t speculation_rounds = 0, drafted_tokens = 0, accepted_tokens = 0;  // over all placements
  std::uint32_t preemptions = 0, continuations = 0;
  std::uint64_t queue_us = 0, prefill_us = 0, decode_us = 0;  // the worker's, of the last placement

  // cached_tokens by where their KV came from; index: KvSource.
  std::array<std::uint32_t, transport::kKvSources> cached_from() const;
};

class Generation {
 public:
  Generation(GenerationSpec spec, const Tokenizer& tokenizer);

  GenerationState state() const { return state_; }
  bool ended() const { return state_ >= GenerationState::done; }
  const GenerationSpec& spec() const { return spec_; }
  const std::vector<transport::TokenId>& tokens() const { return tokens_; }
  const GenerationResult& result() const { return result_; }
  std::uint32_t placements() const { return placements_; }
  bool has_streamed() const { return !tokens_.empty(); }

  // queued -> placed. The message to send: with the tokens made so far. `deadline_left_ms`: 0 = none.
  transport::Generate place(std::uint64_t deadline_left_ms);
  // The send was refused: placed -> queued, as if place() had not been called.
  void unplace();

  struct Progress {
    Delta delta;
    bool stop_met = false;        // cancel the placement; on_finish or finish_stop() ends it
    bool protocol_fault = false;  // indices do not follow: treat the placement as lost
  };
  Progress on_tokens(const transport::TokenBatch& batch);

  // What the end of a placement means.
  enum class Next {
    ended,    // see result(); `tail` is the last text
    requeue,  // nothing was lost: place again
    fail,     // failed; result().error says why
  };
  struct PlacementEnd {
    Next next = Next::ended;
    std::string tail;
  };
  PlacementEnd on_finish(const transport::Finish& finish, std::uint32_t max_placements);
  // other_ready: another worker that could go on is there now.
  PlacementEnd on_link_lost(bool other_ready, std::uint32_t max_placements);
  void finish_stop();  // stopping -> done without the worker's numbers
  void cancel();
  void fail(Outcome outcome, Error error);

 private:
  PlacementEnd end_with(Outcome outcome);
  PlacementEnd fail_with(Outcome outcome, Errc code, std::string message);

  // constant after construction
  GenerationSpec spec_;
  // owned by the I/O thread
  StreamDecoder decoder_;
  GenerationState state_ = GenerationState::queued;
  std::vector<transport::TokenId> tokens_;
  GenerationResult result_;
  std::uint32_t placements_ = 0;
};

}  // namespace leadline::coordinator
