#include "transport/control/control_client.h"

#include <algorithm>
#include <bit>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <random>

#include "monitoring/log.h"
#include "transport/control/asio_channel.h"
#include "transport/control/backoff.h"
#include "transport/control/handshake.h"
#include "transport/control/host_port.h"

namespace leadline::transport {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::chrono::seconds kStartPatience{10};

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(asio::io_context& io, ControlClientOptions options, HostPort address, ControlClientHandlers handlers)
      : io_(io),
        options_(std::move(options)),
        address_(std::move(address)),
        handlers_(std::move(handlers)),
        resolver_(io),
        socket_(io),
        limit_(io),
        pause_(io),
        random_(options_.jitter_seed != 0 ? options_.jitter_seed : std::random_device{}()) {}

  void dial();
  void stop();
  void detach();
  [[nodiscard]] bool connected() const { return connected_; }
  SendOutcome send(const Message& message) {
    return connected_ ? channel_->send(message) : SendOutcome::closed;
  }

 private:
  void shake_hands();
  void hear_handshake(const Message& message);
  void open_link(const Welcome& welcome);
  void attempt_failed(const Error& why, bool nobody_listens = false);
  void link_ended(const Error& why);
  void dial_later();
  void end_attempt();

  asio::io_context& io_;
  const ControlClientOptions options_;
  const HostPort address_;
  ControlClientHandlers handlers_;
  tcp::resolver resolver_;
  tcp::socket socket_;
  asio::steady_timer limit_, pause_;
  std::mt19937_64 random_;
  std::shared_ptr<AsioChannel> channel_;  // of the attempt, then of the link
  Hello hello_;
  std::uint64_t attempt_ = 0;      // callbacks of an older attempt are ignored
  int failures_ = 0;               // since the last link that stood for a while
  unsigned failures_to_tell_ = 0;  // those beyond a start
  std::chrono::steady_clock::time_point link_since_;
  std::optional<std::chrono::steady_clock::time_point> refused_since_;  // no connection was made since
  bool connected_ = false, stopped_ = false;
};

void Core::dial() {
  if (stopped_) return;
  const std::uint64_t attempt = ++attempt_;
  limit_.expires_after(options_.dial_limit);
  limit_.async_wait([self = shared_from_this(), attempt](error_code ended) {
    if (!ended && attempt == self->attempt_ && !self->connected_) {
      self->attempt_failed(
          {Errc::timeout, "no link within " + std::to_string(self->options_.dial_limit.count()) + " ms"});
    }
  });
  resolver_.async_resolve(
      address_.host, std::to_string(address_.port),
      [self = shared_from_this(), attempt](error_code failure, auto found) {
        if (attempt != self->attempt_ || self->stopped_) return;
        if (failure)
          return self->attempt_failed(
              {Errc::io, "resolve " + self->address_.host + ": " + failure.message()});
        self->socket_ = tcp::socket(self->io_);
        asio::async_connect(self->socket_, found, [self, attempt](error_code refused, const tcp::endpoint&) {
          if (attempt != self->attempt_ || self->stopped_) return;
          if (refused)
            return self->attempt_failed({Errc::io, "connect: " + refused.message()},
                                        refused == asio::error::connection_refused);
          self->shake_hands();
        });
      });
}

void Core::shake_hands() {
  channel_ = std::make_shared<AsioChannel>(io_, std::move(socket_), ChannelSide::coordinator,
                                           options_.channel, nullptr);
  hello_ = Hello{kProtocolVersion, options_.model_fingerprint, random_nonce()};
  ChannelHandlers handlers;
  handlers.on_message = [self = shared_from_this()](const Message& message) {
    self->hear_handshake(message);
  };
  handlers.on_closed = [self = shared_from_this(), attempt = attempt_](const Error& why) {
    if (attempt == self->attempt_) self->attempt_failed(why);
  };
  channel_->start_handshake(std::move(handlers));
  channel_->send(hello_);
}

void Core::hear_handshake(const Message& message) {
  const Welcome& welcome = std::get<Welcome>(message);  // the channel lets nothing else through
  auto confirm = answer_welcome(hello_, welcome, options_.secret);
  if (!confirm) {
    channel_->send(Refusal{confirm.error().message.substr(0, 1024)});
    channel_->end_handshake();
    channel_->close_when_sent();
    channel_->close("refused");
    channel_.reset();
    return attempt_failed(confirm.error());
  }
  channel_->send(*confirm);
  open_link(welcome);
}

void Core::open_link(const Welcome& welcome) {
  limit_.cancel();
  connected_ = true;
  refused_since_.reset();
  link_since_ = std::chrono::steady_clock::now();
  channel_->end_handshake();
  ChannelHandlers handlers;
  handlers.on_message = [self = shared_from_this()](Message message) {
    const auto on_message = self->handlers_.on_message;
    if (on_message) on_message(std::move(message));
  };
  handlers.on_writable = [self = shared_from_this()] {
    const auto on_writable = self->handlers_.on_writable;
    if (on_writable) on_writable();
  };
  handlers.on_closed = [self = shared_from_this()](const Error& why) { self->link_ended(why); };
  channel_->start(std::move(handlers));
  monitoring::log_info("control_link_up", {{"worker", options_.address}, {"peer", channel_->peer()}});
  if (const auto on_connected = handlers_.on_connected) on_connected(welcome);
}

void Core::end_attempt() {
  ++attempt_;
  limit_.cancel();
  resolver_.cancel();
  error_code ignored;
  socket_.close(ignored);
  if (channel_ != nullptr) channel_->abandon();
  channel_.reset();
}

void Core::attempt_failed(const Error& why, bool nobody_listens) {
  end_attempt();
  if (stopped_) return;
  if (!nobody_listens)
    refused_since_.reset();
  else if (!refused_since_)
    refused_since_ = std::chrono::steady_clock::now();
  ++failures_;
  // A worker that starts does not listen yet: nothing to warn of for a while.
  const bool starting = refused_since_ && std::chrono::steady_clock::now() - *refused_since_ < kStartPatience;
  // The 1st, 2nd, 4th, 8th ... failure: a worker that is down must not fill the log.
  if (!starting && std::has_single_bit(++failures_to_tell_)) {
    monitoring::log_warn("control_dial_failed",
                         {{"worker", options_.address}, {"reason", why.message}, {"attempt", failures_}});
  }
  const Error copy = why;
  if (const auto on_failed = handlers_.on_attempt_failed) on_failed(copy);
  dial_later();
}

void Core::link_ended(const Error& why) {
  const Error copy = why;
  connected_ = false;
  end_attempt();
  // A link that ends as soon as it stands is a failure, too.
  const bool stood = std::chrono::steady_clock::now() - link_since_ > options_.backoff_limit;
  failures_ = stood ? 0 : failures_ + 1;
  if (stood) failures_to_tell_ = 0;
  monitoring::log_warn("control_link_down", {{"worker", options_.address}, {"reason", copy.message}});
  if (const auto on_disconnected = handlers_.on_disconnected) on_disconnected(copy);
  dial_later();
}

void Core::dial_later() {
  if (stopped_) return;
  const double fraction = std::uniform_real_distribution<double>(0, 1)(random_);
  const auto limit = options_.backoff_limit;
  if (refused_since_) {
    const auto since = std::chrono::steady_clock::now() - *refused_since_;
    pause_.expires_after(
        refused_pause(std::chrono::duration_cast<std::chrono::milliseconds>(since), limit, fraction));
  } else {
    pause_.expires_after(backoff_pause(std::max(failures_, 1), options_.backoff_first, limit, fraction));
  }
  pause_.async_wait([self = shared_from_this()](error_code ended) {
    if (!ended && !self->stopped_) self->dial();
  });
}

void Core::stop() {
  if (stopped_) return;
  stopped_ = true;
  pause_.cancel();
  if (connected_) {
    channel_->close_when_sent();
  } else {
    end_attempt();
  }
}

void Core::detach() {
  handlers_ = {};
  stopped_ = true;
  connected_ = false;
  pause_.cancel();
  end_attempt();
}

class Client final : public ControlClient {
 public:
  explicit Client(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~Client() override { core_->detach(); }
  [[nodiscard]] bool connected() const override { return core_->connected(); }
  SendOutcome send(const Message& message) override { return core_->send(message); }
  void stop() override { core_->stop(); }

 private:
  const std::shared_ptr<Core> core_;  // pending Asio operations share it
};

}  // namespace

Result<std::unique_ptr<ControlClient>> ControlClient::open(asio::io_context& io, ControlClientOptions options,
                                                           ControlClientHandlers handlers) {
  auto address = parse_host_port(options.address);
  if (!address) return tl::unexpected(std::move(address).error());
  if (address->port == 0)
    return monitoring::fail(Errc::configuration, "address " + options.address + ": port 0");
  auto core = std::make_shared<Core>(io, std::move(options), std::move(*address), std::move(handlers));
  asio::post(io, [core] { core->dial(); });
  return std::make_unique<Client>(std::move(core));
}

}  // namespace leadline::transport
