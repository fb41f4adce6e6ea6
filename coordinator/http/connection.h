#pragma once
// Connection: one client connection: reads requests one after the other, hands each out as an Exchange,
// writes the answer, and enforces every time and size limit on the way. Knows HTTP framing and nothing of the
// API. Thread: the I/O thread. Lives in shared_ptrs held by its pending operations and by the listener (Asio
// lifetime). Invariants: at most one exchange at a time; reading goes on while one is answered, so a client
// that leaves is noticed at once.

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "coordinator/coordinator_metrics.h"
#include "coordinator/http/byte_stream.h"
#include "coordinator/http/http_message.h"
#include "coordinator/http/request_reader.h"

namespace leadline::coordinator {

struct HttpHooks {
  // Before the body is read: a response here refuses the request (route, key, type) and closes.
  std::function<std::optional<HttpResponse>(const HttpRequest&)> check_head;
  std::function<void(std::shared_ptr<Exchange>)> handle;
};

// What all connections of a listener share. Limits and metrics outlive it.
struct ConnectionContext {
  const Limits& limits;
  HttpHooks hooks;
  const CoordinatorMetrics& metrics;
  std::size_t bodies_bytes = 0;  // of bodies being read or parsed, by declared or received size
  std::function<void(const std::shared_ptr<class Connection>&)> on_closed;
  bool draining = false;  // answers say Connection: close
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::unique_ptr<ByteStream> stream, std::shared_ptr<ConnectionContext> context);
  ~Connection();

  void start();
  void close();            // now; a present exchange hears on_disconnect
  void close_when_idle();  // now if no request is under way, else after its answer
  bool is_waiting() const { return !exchange_ && !closed_; }  // for a request: may be closed to make room
  std::chrono::steady_clock::time_point waiting_since() const { return waiting_since_; }

 private:
  class ConnectionExchange;
  friend class ConnectionExchange;

  void read();
  void on_read(boost::system::error_code error, std::size_t size);
  void step();     // acts on the reader's state
  bool on_head();  // false: refused
  void on_complete();
  void refuse(HttpResponse response);
  void send_response(HttpResponse response);
  void write(std::string_view bytes);
  void flush();
  void exchange_done(bool keep_alive);
  void drained();  // everything was written
  void linger();   // half-close, discard what still comes, then close
  void arm(boost::asio::steady_timer& timer, std::uint64_t ms, void (Connection::*expired)());
  void on_read_deadline();
  void on_write_deadline();
  void reserve_body(std::size_t bytes);
  void release_body();
  std::string response_head(const HttpResponse& response, const HttpRequest& request, bool streamed,
                            bool close) const;

  // constant after construction
  std::unique_ptr<ByteStream> stream_;
  const std::shared_ptr<ConnectionContext> shared_context_;  // outlives the listener with us (Asio lifetime)
  ConnectionContext& context_;
  // owned by the I/O thread
  RequestReader reader_;
  boost::asio::steady_timer read_timer_, write_timer_;
  std::shared_ptr<ConnectionExchange> exchange_;
  std::string out_, writing_;
  std::array<char, 16 * 1024> read_buffer_;
  std::chrono::steady_clock::time_point waiting_since_, request_start_;
  std::size_t reserved_body_ = 0, discarded_ = 0;
  bool reading_ = false, closed_ = false, close_after_ = false, lingering_ = false, head_timed_ = false,
       had_request_ = false;
};

}  // namespace leadline::coordinator
