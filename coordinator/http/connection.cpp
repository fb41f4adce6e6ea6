#include "coordinator/http/connection.h"

#include <boost/asio/post.hpp>
#include <cstdio>
#include <ctime>

#include "coordinator/http/error_response.h"
#include "coordinator/http/request_id.h"
#include "monitoring/http_reason.h"
#include "monitoring/log.h"

namespace leadline::coordinator {

namespace {

constexpr std::uint64_t kLingerMs = 2'000;
constexpr std::size_t kLingerBytes = std::size_t{1} << 20;

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return text;
}

}  // namespace

// The present request. The connection owns it; handlers may hold it longer, then `connection_` is null and
// calls do nothing.
class Connection::ConnectionExchange final : public Exchange {
 public:
  ConnectionExchange(Connection& connection, HttpRequest request)
      : connection_(&connection), request_(std::move(request)) {}

  const HttpRequest& request() const override { return request_; }
  std::string take_body() override { return std::move(request_.body); }

  void respond(HttpResponse response) override {
    if (connection_ == nullptr || begun_) return;
    begun_ = true;
    Connection& connection = *connection_;
    log_end(response.status);
    connection.send_response(std::move(response));
  }

  void begin_stream(HeaderList headers) override {
    if (connection_ == nullptr || begun_) return;
    begun_ = streaming_ = true;
    HttpResponse response;
    response.content_type = "text/event-stream; charset=utf-8";
    response.headers = std::move(headers);
    response.headers.emplace_back("Cache-Control", "no-cache");
    response.headers.emplace_back("X-Accel-Buffering", "no");
    connection_->context_.metrics.http_responses[ResponseClass::s2xx].inc();
    connection_->write(connection_->response_head(response, request_, true, closes()));
  }

  bool write(std::string_view bytes) override {
    if (connection_ == nullptr || !streaming_) return false;
    if (bytes.empty()) return true;
    if (connection_->out_.size() + bytes.size() > connection_->context_.limits.stream_buffer_bytes) {
      monitoring::log_warn("stream_reader_too_slow", {{"request_id", request_.request_id}});
      connection_->close();
      return false;
    }
    if (request_.http10) {
      connection_->write(bytes);
      return true;
    }
    char size[24];
    std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    std::string chunk(size);
    chunk.append(bytes).append("\r\n");
    connection_->write(chunk);
    return true;
  }

  void end_stream() override {
    if (connection_ == nullptr || !streaming_) return;
    Connection& connection = *connection_;
    log_end(200);
    if (!request_.http10) connection.write("0\r\n\r\n");
    connection.exchange_done(!closes());
  }

  void on_disconnect(std::function<void()> callback) override { disconnect_ = std::move(callback); }

  // The connection is done with this request: the answer is complete (lost = false) or can't be sent any
  // more.
  void detach(bool lost) {
    connection_ = nullptr;
    auto callback = std::move(disconnect_);
    disconnect_ = nullptr;
    if (lost && callback) callback();
  }

  bool closes() const {
    return request_.http10 || !request_.keep_alive || connection_->close_after_ ||
           connection_->context_.draining;
  }
  void log_end(int status) const {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                          connection_->request_start_);
    monitoring::log_info("http", {{"request_id", request_.request_id},
                                  {"method", request_.method},
                                  {"path", request_.path.substr(0, 128)},
                                  {"status", status},
                                  {"ms", ms.count()}});
  }

 private:
  Connection* connection_;
  HttpRequest request_;
  std::function<void()> disconnect_;
  bool begun_ = false, streaming_ = false;
};

Connection::Connection(std::unique_ptr<ByteStream> stream, std::shared_ptr<ConnectionContext> context)
    : stream_(std::move(stream)),
      shared_context_(std::move(context)),
      context_(*shared_context_),
      reader_(context_.limits),
      read_timer_(stream_->executor()),
      write_timer_(stream_->executor()),
      waiting_since_(std::chrono::steady_clock::now()) {
  context_.metrics.http_connections.add(1);
}

Connection::~Connection() {
  release_body();
  context_.metrics.http_connections.add(-1);
}

void Connection::start() {
  arm(read_timer_, context_.limits.header_timeout_ms, &Connection::on_read_deadline);
  stream_->handshake([self = shared_from_this()](boost::system::error_code error) {
    if (error) return self->close();
    self->read();
  });
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  const auto self = shared_from_this();  // callbacks below may drop the last reference
  read_timer_.cancel();
  write_timer_.cancel();
  stream_->close();
  release_body();
  if (auto exchange = std::move(exchange_)) exchange->detach(true);
  if (context_.on_closed) context_.on_closed(self);
}

void Connection::close_when_idle() {
  close_after_ = true;
  if (!exchange_ && out_.empty() && writing_.empty()) close();
}

void Connection::arm(boost::asio::steady_timer& timer, std::uint64_t ms, void (Connection::*expired)()) {
  timer.expires_after(std::chrono::milliseconds(ms));
  timer.async_wait([weak = weak_from_this(), expired](boost::system::error_code error) {
    if (error) return;
    if (auto self = weak.lock(); self && !self->closed_) (self.get()->*expired)();
  });
}

void Connection::on_read_deadline() {
  if (exchange_ && !lingering_) return;
  // A connection that said something gets an answer; one that is merely idle is closed.
  if (!lingering_ && reader_.state() == ReadState::head) {
    return refuse(error_response(408, "the request's header did not arrive in time"));
  }
  if (!lingering_ && reader_.state() == ReadState::body) {
    return refuse(error_response(408, "the request's body did not arrive in time"));
  }
  close();
}

void Connection::on_write_deadline() {
  if (!writing_.empty()) close();
}

void Connection::read() {
  if (closed_ || reading_ || (!lingering_ && !reader_.wants_bytes())) return;
  reading_ = true;
  stream_->read_some(read_buffer_,
                     [self = shared_from_this()](boost::system::error_code error, std::size_t size) {
                       self->reading_ = false;
                       self->on_read(error, size);
                     });
}

void Connection::on_read(boost::system::error_code error, std::size_t size) {
  if (closed_) return;
  if (error) return close();  // the end of the client's side counts as its leaving, half-close included
  if (lingering_) {
    discarded_ += size;
    if (discarded_ > kLingerBytes) return close();
    return read();
  }
  const ReadState before = reader_.state();
  reader_.feed(std::string_view(read_buffer_.data(), size));
  if (before == ReadState::idle && had_request_) {
    arm(read_timer_, context_.limits.header_timeout_ms, &Connection::on_read_deadline);
  }
  if (!exchange_) step();
  read();
}

void Connection::step() {
  while (!closed_ && !exchange_ && !lingering_) {
    switch (reader_.state()) {
      case ReadState::idle:
      case ReadState::head:
      case ReadState::body:
        return;
      case ReadState::head_done:
        if (!on_head()) return;
        reader_.read_body();
        break;
      case ReadState::complete:
        return on_complete();
      case ReadState::failed:
        reader_.request().request_id = make_request_id();
        return refuse(error_response(reader_.failure().status, reader_.failure().message));
    }
  }
}

bool Connection::on_head() {
  HttpRequest& request = reader_.request();
  request_start_ = std::chrono::steady_clock::now();
  const std::string given = std::string(request.header("x-request-id"));
  request.request_id =
      is_valid_request_id(given, context_.limits.request_id_bytes) ? given : make_request_id();
  if (auto refused = context_.hooks.check_head(request)) {
    refuse(std::move(*refused));
    return false;
  }
  const std::uint64_t length = reader_.content_length().value_or(0);
  // A chunked body declares no length: it is counted as the largest that may come.
  const bool chunked = !request.header("transfer-encoding").empty();
  const std::size_t claim = chunked ? context_.limits.body_bytes : static_cast<std::size_t>(length);
  if (context_.bodies_bytes + claim > context_.limits.bodies_bytes) {
    refuse(error_response(503, "too many large requests are being read"));
    return false;
  }
  reserve_body(claim);
  if (claim > 0) arm(read_timer_, context_.limits.body_timeout_ms, &Connection::on_read_deadline);
  if (reader_.expects_continue() && claim > 0) write("HTTP/1.1 100 Continue\r\n\r\n");
  return true;
}

void Connection::reserve_body(std::size_t bytes) {
  reserved_body_ += bytes;
  context_.bodies_bytes += bytes;
}

void Connection::release_body() {
  context_.bodies_bytes -= reserved_body_;
  reserved_body_ = 0;
}

void Connection::on_complete() {
  read_timer_.cancel();
  had_request_ = true;
  exchange_ = std::make_shared<ConnectionExchange>(*this, std::move(reader_.request()));
  context_.hooks.handle(exchange_);  // may answer at once
}

void Connection::refuse(HttpResponse response) {
  close_after_ = true;
  HttpRequest& request = reader_.request();
  if (request.request_id.empty()) request.request_id = make_request_id();
  response.close = true;
  monitoring::log_info("http", {{"request_id", request.request_id},
                                {"method", request.method},
                                {"path", request.path.substr(0, 128)},
                                {"status", response.status}});
  HttpRequest copy;
  copy.method = request.method;
  copy.request_id = request.request_id;
  std::string bytes = response_head(response, copy, false, true);
  if (copy.method != "HEAD") bytes += response.body;
  context_.metrics.http_responses[response.status < 500 ? ResponseClass::s4xx : ResponseClass::s5xx].inc();
  lingering_ = true;  // set before writing: nothing more is parsed
  arm(read_timer_, kLingerMs, &Connection::on_read_deadline);
  release_body();
  write(bytes);
  read();
}

std::string Connection::response_head(const HttpResponse& response, const HttpRequest& request, bool streamed,
                                      bool close) const {
  std::string head =
      "HTTP/1.1 " + std::to_string(response.status) + " " + monitoring::http_reason(response.status) + "\r\n";
  const auto add = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  add("Date", http_date());
  if (response.status != 204) add("Content-Type", response.content_type);
  if (streamed) {
    if (!request.http10) add("Transfer-Encoding", "chunked");
  } else if (response.status != 204) {
    add("Content-Length", std::to_string(response.body.size()));
  }
  add("X-Request-Id", request.request_id);
  add("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) add(name, value);
  add("Connection", close ? "close" : "keep-alive");
  return head + "\r\n";
}

void Connection::send_response(HttpResponse response) {
  const HttpRequest& request = exchange_->request();
  const bool close = response.close || exchange_->closes();
  const ResponseClass kind = response.status < 400   ? ResponseClass::s2xx
                             : response.status < 500 ? ResponseClass::s4xx
                                                     : ResponseClass::s5xx;
  context_.metrics.http_responses[kind].inc();
  std::string bytes = response_head(response, request, false, close);
  if (request.method != "HEAD") bytes += response.body;
  write(bytes);
  exchange_done(!close);
}

void Connection::write(std::string_view bytes) {
  if (closed_) return;
  out_.append(bytes);
  flush();
}

void Connection::flush() {
  if (closed_ || !writing_.empty() || out_.empty()) return;
  writing_.swap(out_);
  arm(write_timer_, context_.limits.write_timeout_ms, &Connection::on_write_deadline);
  stream_->write_all(writing_, [self = shared_from_this()](boost::system::error_code error, std::size_t) {
    self->writing_.clear();
    if (self->closed_) return;
    if (error) return self->close();
    self->write_timer_.cancel();
    self->flush();
    if (self->writing_.empty()) self->drained();
  });
}

void Connection::exchange_done(bool keep_alive) {
  if (!keep_alive) close_after_ = true;
  auto exchange = std::move(exchange_);
  exchange_.reset();
  exchange->detach(false);
  release_body();
  waiting_since_ = std::chrono::steady_clock::now();
  if (close_after_) {
    lingering_ = true;
    arm(read_timer_, kLingerMs, &Connection::on_read_deadline);
    if (writing_.empty() && out_.empty()) drained();
    return read();
  }
  arm(read_timer_, context_.limits.idle_timeout_ms, &Connection::on_read_deadline);
  // Not from inside the handler that has just answered: the next request may be waiting and would recurse.
  boost::asio::post(stream_->executor(), [self = shared_from_this()] {
    if (self->closed_ || self->exchange_ || self->lingering_ || self->reader_.state() != ReadState::complete)
      return;
    self->reader_.next();
    self->step();
    self->read();
  });
}

void Connection::drained() {
  if (lingering_) return linger();
  if (!close_after_ || exchange_) return;
  lingering_ = true;  // told to close while the last answer was still being written
  arm(read_timer_, kLingerMs, &Connection::on_read_deadline);
  linger();
  read();
}

void Connection::linger() {
  stream_->shutdown_send();
}

}  // namespace leadline::coordinator
