#pragma once
// SseStream: server-sent events over one Exchange: data events, comments while nothing happens, [DONE] or an
// error event at the end. The bounded buffer and the detection of a client that left are the connection's;
// here they show as write() returning false. Thread: the I/O thread. Invariant: the stream begins with the
// first event or comment, ends once, and nothing follows its end.

#include <memory>
#include <string>
#include <string_view>

#include "coordinator/http/http_message.h"

namespace leadline::coordinator {

// "data: …\n\n"; a payload with line breaks would need one data line each: JSON texts have none.
std::string sse_event(std::string_view payload);

class SseStream {
 public:
  SseStream(std::shared_ptr<Exchange> exchange, HeaderList headers)
      : exchange_(std::move(exchange)), headers_(std::move(headers)) {}

  bool begun() const { return begun_; }
  bool ended() const { return ended_; }
  bool event(std::string_view json, std::uint64_t now_ms);         // false: the client is gone
  void keep_alive(std::uint64_t now_ms, std::uint64_t period_ms);  // a comment if silent for so long
  void done();                                                     // [DONE]
  void fail(std::string_view error_json);  // an error event, then the end; REQUIRES: begun

 private:
  bool send(std::string_view bytes, std::uint64_t now_ms);

  const std::shared_ptr<Exchange> exchange_;  // see Exchange
  HeaderList headers_;
  std::uint64_t last_ms_ = 0;
  bool begun_ = false, ended_ = false;
};

}  // namespace leadline::coordinator
