#include "coordinator/http/sse_stream.h"

namespace leadline::coordinator {

std::string sse_event(std::string_view payload) {
  std::string event = "data: ";
  event.append(payload).append("\n\n");
  return event;
}

bool SseStream::send(std::string_view bytes, std::uint64_t now_ms) {
  if (ended_) return false;
  if (!begun_) {
    begun_ = true;
    exchange_->begin_stream(std::move(headers_));
  }
  last_ms_ = now_ms;
  return exchange_->write(bytes);
}

bool SseStream::event(std::string_view json, std::uint64_t now_ms) {
  return send(sse_event(json), now_ms);
}

void SseStream::keep_alive(std::uint64_t now_ms, std::uint64_t period_ms) {
  if (last_ms_ == 0) last_ms_ = now_ms;
  if (now_ms >= last_ms_ + period_ms) send(": keep-alive\n\n", now_ms);
}

void SseStream::done() {
  send("data: [DONE]\n\n", last_ms_);
  if (!ended_) exchange_->end_stream();
  ended_ = true;
}

void SseStream::fail(std::string_view error_json) {
  if (ended_) return;
  send(sse_event(error_json), last_ms_);
  exchange_->end_stream();
  ended_ = true;
}

}  // namespace leadline::coordinator
