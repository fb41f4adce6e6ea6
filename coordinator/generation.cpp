#include "coordinator/generation.h"

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::coordinator {

using transport::FinishReason;

std::array<std::uint32_t, transport::kKvSources> GenerationResult::cached_from() const {
  using transport::KvSource;
  const std::uint32_t memory = kv.tokens_from(KvSource::memory), disk = kv.tokens_from(KvSource::disk),
                      redis = kv.tokens_from(KvSource::redis);
  return {cached_tokens - std::min(memory + disk + redis, cached_tokens), memory, disk, redis};
}

Generation::Generation(GenerationSpec spec, const Tokenizer& tokenizer)
    : spec_(std::move(spec)), decoder_(tokenizer, spec_.stops, spec_.skip_special_tokens) {
  result_.prompt_tokens = static_cast<std::uint32_t>(spec_.request.prompt.size());
}

transport::Generate Generation::place(std::uint64_t deadline_left_ms) {
  LEADLINE_CHECK(state_ == GenerationState::queued, "placed twice");
  state_ = GenerationState::placed;
  ++placements_;
  transport::Generate message = spec_.request;
  message.generated = tokens_;
  message.deadline_ms = deadline_left_ms;
  return message;
}

void Generation::unplace() {
  LEADLINE_CHECK(state_ == GenerationState::placed, "unplace without a placement");
  state_ = GenerationState::queued;
  --placements_;
}

Generation::Progress Generation::on_tokens(const transport::TokenBatch& batch) {
  Progress progress;
  if (state_ != GenerationState::placed && state_ != GenerationState::streaming) return progress;
  std::size_t skip = 0;  // tokens that were delivered already
  if (batch.first_index < tokens_.size()) skip = tokens_.size() - batch.first_index;
  if (batch.first_index > tokens_.size()) {
    progress.protocol_fault = true;
    return progress;
  }
  state_ = GenerationState::streaming;
  for (std::size_t i = skip; i < batch.tokens.size(); ++i) {
    const transport::SampledToken& token = batch.tokens[i];
    if (tokens_.size() >= spec_.request.max_tokens) {
      progress.protocol_fault = true;
      return progress;
    }
    tokens_.push_back(token.token);
    progress.delta.tokens.push_back(token);
    StreamPiece piece = decoder_.push(token.token);
    progress.delta.text += piece.text;
    if (piece.stop) {
      result_.stop_string = piece.stop;
      state_ = GenerationState::stopping;
      progress.stop_met = true;
      break;  // what the worker made beyond it is neither shown nor billed
    }
  }
  return progress;
}

Generation::PlacementEnd Generation::end_with(Outcome outcome) {
  PlacementEnd end;
  if (!result_.stop_string) {
    StreamPiece piece = decoder_.finish();
    end.tail = std::move(piece.text);
    if (piece.stop) {
      result_.stop_string = piece.stop;
      outcome = Outcome::stop;
    }
  }
  state_ = GenerationState::done;
  result_.outcome = outcome;
  result_.generated_tokens = static_cast<std::uint32_t>(tokens_.size());
  return end;
}

Generation::PlacementEnd Generation::fail_with(Outcome outcome, Errc code, std::string message) {
  fail(outcome, Error{code, std::move(message), {}});
  return {Next::fail, {}};
}

void Generation::fail(Outcome outcome, Error error) {
  state_ = GenerationState::failed;
  result_.outcome = outcome;
  result_.error = std::move(error);
  result_.generated_tokens = static_cast<std::uint32_t>(tokens_.size());
}

void Generation::cancel() {
  if (ended()) return;
  state_ = GenerationState::cancelled;
  result_.outcome = Outcome::cancelled;
  result_.generated_tokens = static_cast<std::uint32_t>(tokens_.size());
}

void Generation::finish_stop() {
  end_with(Outcome::stop);
}

Generation::PlacementEnd Generation::on_finish(const transport::Finish& finish,
                                               std::uint32_t max_placements) {
  if (ended()) return {};
  result_.cached_tokens = finish.cached_tokens;
  result_.kv = finish.kv;
  result_.speculation_rounds += finish.speculation_rounds;
  result_.drafted_tokens += finish.drafted_tokens;
  result_.accepted_tokens += finish.accepted_tokens;
  result_.preemptions += finish.preemptions;
  result_.queue_us = finish.queue_us;
  result_.prefill_us = finish.prefill_us;
  result_.decode_us = finish.decode_us;
  if (state_ == GenerationState::stopping) return end_with(Outcome::stop);
  switch (finish.reason) {
    case FinishReason::stop:
      result_.stop_token = finish.stop_token;
      return end_with(Outcome::stop);
    case FinishReason::length:
      return end_with(Outcome::length);
    case FinishReason::overloaded:
      if (placements_ >= max_placements) {
        return fail_with(Outcome::failed, Errc::unavailable, "no worker took the request; try again later");
      }
      state_ = GenerationState::queued;
      return {Next::requeue, {}};
    case FinishReason::deadline:
      return fail_with(Outcome::deadline, Errc::request_timeout,
                       "deadline_ms ran out before the answer was complete");
    case FinishReason::invalid:
      return fail_with(Outcome::invalid, Errc::invalid_request,
                       "the worker refused the request: " + finish.message);
    case FinishReason::cancelled:  // not by us: we forget what we cancel
    case FinishReason::failed:
    case FinishReason::unknown:
      break;
  }
  return fail_with(Outcome::failed, Errc::internal, "the worker failed while working on the request");
}

Generation::PlacementEnd Generation::on_link_lost(bool other_ready, std::uint32_t max_placements) {
  if (ended()) return {};
  if (state_ == GenerationState::stopping) return end_with(Outcome::stop);
  if (tokens_.size() >= spec_.request.max_tokens)
    return end_with(Outcome::length);  // only its Finish was lost
  if (!has_streamed()) {
    if (placements_ >= max_placements) {
      return fail_with(Outcome::failed, Errc::unavailable,
                       "the worker was lost and no other took the request");
    }
    state_ = GenerationState::queued;
    return {Next::requeue, {}};
  }
  if (result_.continuations > 0 || !other_ready) {
    return fail_with(Outcome::failed, Errc::unavailable,
                     "the worker was lost and no other is ready to go on");
  }
  ++result_.continuations;
  state_ = GenerationState::queued;
  return {Next::requeue, {}};
}

}  // namespace leadline::coordinator
