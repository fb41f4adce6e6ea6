#pragma once
// One HTTP request and one HTTP response as plain values, and the Exchange that joins them. Everything behind
// the connection sees only these: no sockets, no Beast, no coroutines. Thread: values; Exchange is called on
// the I/O thread only.

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leadline::coordinator {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // as sent, upper case
  std::string path;    // percent-decoded, without query
  std::string query;   // raw, without '?'
  HeaderList headers;  // names in lower case, values trimmed
  std::string body;
  std::string request_id;  // the client's when valid, else ours
  bool keep_alive = true;
  bool http10 = false;

  // First value, or "".
  std::string_view header(std::string_view lower_name) const {
    for (const auto& [name, value] : headers) {
      if (name == lower_name) return value;
    }
    return {};
  }
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HeaderList headers;
  bool close = false;
};

// One request and the way to answer it. Exactly one of respond() or begin_stream() ... end_stream(); later
// calls are ignored, as are all calls after the client went away. Lives in a shared_ptr because connection,
// handler and timers end at different times.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual std::string take_body() = 0;
  virtual void respond(HttpResponse response) = 0;
  virtual void begin_stream(HeaderList headers) = 0;  // 200 text/event-stream
  // False when nothing more will be sent: the client is gone, or reads so slowly that the buffer's limit was
  // passed.
  virtual bool write(std::string_view bytes) = 0;
  virtual void end_stream() = 0;
  // Called at most once, when the client goes away before the answer was complete. Replaces an earlier one.
  virtual void on_disconnect(std::function<void()> callback) = 0;
};

}  // namespace leadline::coordinator
