#include "transport/control/asio_channel.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

#include "monitoring/check.h"
#include "monitoring/log.h"
#include "transport/control/codec.h"

namespace leadline::transport {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t kHandshakeFrameBytes = std::size_t{32} << 10;
constexpr std::size_t kReadBytes = std::size_t{64} << 10;
constexpr std::size_t kWriteBytes = std::size_t{256}
                                    << 10;  // of one write, so that queued_bytes follows the socket

std::string name_of_peer(const asio::ip::tcp::socket& socket) {
  error_code failure;
  const auto endpoint = socket.remote_endpoint(failure);
  if (failure) return "unknown peer";
  const std::string host = endpoint.address().to_string(failure);
  return (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(endpoint.port());
}

template <typename... Ts>
bool is_one_of(const Message& message) {
  return (std::holds_alternative<Ts>(message) || ...);
}

}  // namespace

AsioChannel::AsioChannel(asio::io_context& io, asio::ip::tcp::socket socket, ChannelSide side,
                         ChannelOptions options, std::function<void()> on_gone)
    : side_(side),
      options_(options),
      on_gone_(std::move(on_gone)),
      peer_(name_of_peer(socket)),
      io_(io),
      socket_(std::move(socket)),
      timer_(io),
      parser_(kHandshakeFrameBytes),
      input_(kReadBytes),
      last_received_(Clock::now()),
      next_ping_(last_received_ + options.ping_period) {
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

AsioChannel::~AsioChannel() {
  if (on_gone_) on_gone_();
}

void AsioChannel::start_handshake(ChannelHandlers handlers) {
  phase_ = Phase::handshake;
  run(std::move(handlers));
}

void AsioChannel::end_handshake() {
  phase_ = Phase::idle;
  handlers_ = {};
  parser_.set_max_body_bytes(CodecLimits::kFrameBytes);
}

void AsioChannel::start(ChannelHandlers handlers) {
  LEADLINE_CHECK(phase_ == Phase::idle, "a channel is started once");
  phase_ = Phase::open;
  last_received_ = Clock::now();
  arm_heartbeat();
  run(std::move(handlers));
}

void AsioChannel::run(ChannelHandlers handlers) {
  handlers_ = std::move(handlers);
  // Not from inside the call: what arrived in the meantime is delivered by the loop.
  asio::post(io_, [self = shared_from_this()] { self->take_input(); });
}

// ---- receiving

void AsioChannel::read_more() {
  if (reading_ || closed_ || peer_ended_) return;
  reading_ = true;
  socket_.async_read_some(asio::buffer(input_),
                          [self = shared_from_this()](error_code failure, std::size_t count) {
                            self->reading_ = false;
                            if (self->closed_) return;
                            if (failure == asio::error::eof) return self->peer_ended();
                            if (failure)
                              return self->finish({Errc::closed, "connection lost: " + failure.message()});
                            self->last_received_ = Clock::now();
                            self->unread_ = std::span(self->input_).first(count);
                            self->take_input();
                          });
}

void AsioChannel::take_input() {
  while (!closed_ && phase_ != Phase::idle && !unread_.empty()) {
    auto frame = parser_.take(unread_);
    if (!frame) return finish(std::move(frame).error());
    if (*frame && !deliver(std::move(**frame))) return;
  }
  if (unread_.empty() && phase_ != Phase::idle) read_more();
}

bool AsioChannel::deliver(Frame frame) {
  auto message = decode(frame.type, frame.body);
  if (!message) {
    finish(std::move(message).error());
    return false;
  }
  if (const auto* refusal = std::get_if<Refusal>(&*message)) {
    finish({Errc::refused, "the peer refused: " + refusal->reason});
    return false;
  }
  if (!allowed(*message)) {
    finish({Errc::malformed, "message type " + std::to_string(frame.type) + " does not belong here"});
    return false;
  }
  if (const auto* ping = std::get_if<Ping>(&*message)) {
    (void)send(Pong{ping->nonce});
  } else if (!std::holds_alternative<Pong>(*message) && handlers_.on_message) {
    const auto on_message = handlers_.on_message;  // the call may replace the handlers
    on_message(std::move(*message));
  }
  return !closed_;
}

bool AsioChannel::allowed(const Message& message) const {
  if (phase_ == Phase::handshake) {
    return side_ == ChannelSide::worker ? is_one_of<Hello, Confirm>(message) : is_one_of<Welcome>(message);
  }
  if (is_one_of<Ping, Pong>(message)) return true;
  return side_ == ChannelSide::worker ? is_one_of<Generate, Cancel, Drain>(message)
                                      : is_one_of<TokenBatch, Finish, Status>(message);
}

void AsioChannel::peer_ended() {
  if (parser_.inside_frame()) return finish({Errc::closed, "connection ended inside a message"});
  peer_ended_ = true;
  closing_ = true;  // what we still have to say is sent, then the end
  write_more();
}

// ---- sending

SendOutcome AsioChannel::send(const Message& message) {
  if (closed_.load(std::memory_order_acquire)) return SendOutcome::closed;
  std::vector<std::byte> frame;
  if (auto encoded = encode(message, frame); !encoded) {
    monitoring::log_error("control_message_refused", {{"peer", peer_}, {"reason", encoded.error().message}});
    return SendOutcome::refused;
  }
  const std::size_t before = queued_bytes_.fetch_add(frame.size(), std::memory_order_relaxed);
  if (before + frame.size() > options_.send_limit_bytes) {
    queued_bytes_.fetch_sub(frame.size(), std::memory_order_relaxed);
    return SendOutcome::refused;
  }
  const bool above = before + frame.size() > options_.send_high_water_bytes;
  // Before the frame is visible to the io thread, or its writable could be missed.
  if (above) owes_writable_.store(true, std::memory_order_release);
  bool post = false;
  {
    const std::lock_guard lock(mutex_);
    pending_.insert(pending_.end(), frame.begin(), frame.end());
    post = !std::exchange(flush_posted_, true);
  }
  if (post) asio::post(io_, [self = shared_from_this()] { self->write_more(); });
  return above ? SendOutcome::queued_above_high_water : SendOutcome::queued;
}

void AsioChannel::write_more() {
  if (write_active_ || closed_) return;
  if (written_ == writing_.size()) {
    writing_.clear();
    written_ = 0;
    const std::lock_guard lock(mutex_);
    writing_.swap(pending_);
    flush_posted_ = false;
  }
  if (writing_.empty()) {
    if (peer_ended_) return finish({Errc::closed, "the peer ended the connection"});
    if (closing_ && !half_closed_) {
      half_closed_ = true;
      error_code ignored;
      socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    }
    return;
  }
  if (half_closed_) return finish({Errc::closed, "a message was sent after the half-close"});
  write_active_ = true;
  const std::size_t count = std::min(writing_.size() - written_, kWriteBytes);
  socket_.async_write_some(asio::buffer(writing_.data() + written_, count),
                           [self = shared_from_this()](error_code failure, std::size_t sent) {
                             self->write_active_ = false;
                             if (self->closed_) return;
                             if (failure)
                               return self->finish({Errc::closed, "connection lost: " + failure.message()});
                             self->after_write(sent);
                           });
}

void AsioChannel::after_write(std::size_t count) {
  written_ += count;
  const std::size_t left = queued_bytes_.fetch_sub(count, std::memory_order_relaxed) - count;
  if (left <= options_.send_high_water_bytes / 2 &&
      owes_writable_.exchange(false, std::memory_order_acq_rel) && handlers_.on_writable) {
    const auto on_writable = handlers_.on_writable;
    on_writable();
  }
  write_more();
}

// ---- heartbeat

void AsioChannel::arm_heartbeat() {
  timer_.expires_at(std::min(next_ping_, last_received_ + options_.silence_limit));
  timer_.async_wait([self = shared_from_this()](error_code failure) {
    if (!failure && !self->closed_) self->beat();
  });
}

void AsioChannel::beat() {
  const auto now = Clock::now();
  if (now - last_received_ >= options_.silence_limit) {
    return finish(
        {Errc::timeout, "nothing heard for " + std::to_string(options_.silence_limit.count()) + " ms"});
  }
  if (now >= next_ping_) {
    next_ping_ = now + options_.ping_period;
    // A full queue is a sign of life to the peer already; the peer pings us on its own.
    if (queued_bytes() <= options_.send_high_water_bytes && !closing_) (void)send(Ping{++ping_nonce_});
  }
  arm_heartbeat();
}

// ---- closing

void AsioChannel::close_when_sent() {
  asio::post(io_, [self = shared_from_this()] {
    self->closing_ = true;
    self->write_more();
  });
}

void AsioChannel::close(std::string reason) {
  asio::post(io_, [self = shared_from_this(), reason = std::move(reason)]() mutable {
    self->finish({Errc::closed, std::move(reason)});
  });
}

void AsioChannel::abandon() {
  handlers_ = {};
  finish({Errc::closed, "abandoned"});
}

void AsioChannel::finish(Error why) {
  if (closed_.exchange(true, std::memory_order_acq_rel)) return;
  error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  ChannelHandlers last = std::exchange(handlers_, {});
  if (last.on_closed) last.on_closed(std::move(why));
}

}  // namespace leadline::transport
