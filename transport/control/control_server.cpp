#include "transport/control/control_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <optional>

#include "monitoring/log.h"
#include "transport/control/asio_channel.h"
#include "transport/control/handshake.h"
#include "transport/control/host_port.h"

namespace leadline::transport {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kAcceptPause{100};  // after an accept that failed (descriptors ran out)

// One connection that has not proved itself yet.
struct Handshake {
  std::shared_ptr<AsioChannel> channel;
  asio::steady_timer timer;
  Nonce own_nonce;
  std::optional<Hello> hello;
  bool refused = false;
};

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(asio::io_context& io, ControlServerOptions options, ControlServerHandlers handlers,
       tcp::acceptor acceptor)
      : io_(io),
        options_(std::move(options)),
        handlers_(std::move(handlers)),
        acceptor_(std::move(acceptor)),
        pause_(io) {}

  void accept() {
    acceptor_.async_accept([self = shared_from_this()](error_code failure, tcp::socket socket) {
      if (self->stopped_) return;
      if (!failure) {
        self->begin(std::move(socket));
        return self->accept();
      }
      monitoring::log_warn("control_accept_failed", {{"reason", failure.message()}});
      self->pause_.expires_after(kAcceptPause);
      self->pause_.async_wait([self](error_code ended) {
        if (!ended && !self->stopped_) self->accept();
      });
    });
  }

  void stop() {
    if (stopped_) return;
    stopped_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (auto& [id, handshake] : handshakes_) {
      handshake->timer.cancel();
      handshake->channel->abandon();
    }
    handshakes_.clear();
    handlers_ = {};
  }

  [[nodiscard]] std::uint16_t port() const {
    error_code ignored;
    return acceptor_.local_endpoint(ignored).port();
  }

 private:
  void begin(tcp::socket socket) {
    if (*open_ >= options_.max_connections) {
      monitoring::log_warn("control_connection_refused",
                           {{"open", *open_}, {"limit", options_.max_connections}});
      return;  // the socket closes
    }
    ++*open_;
    const std::uint64_t id = next_id_++;
    auto channel = std::make_shared<AsioChannel>(io_, std::move(socket), ChannelSide::worker,
                                                 options_.channel, [open = open_] { --*open; });
    auto handshake =
        std::make_unique<Handshake>(Handshake{channel, asio::steady_timer(io_), random_nonce(), {}, false});
    handshake->timer.expires_after(options_.handshake_limit);
    handshake->timer.async_wait([self = shared_from_this(), id](error_code ended) {
      if (!ended) self->drop(id, "handshake took too long");
    });
    handshakes_.emplace(id, std::move(handshake));
    ChannelHandlers handlers;
    handlers.on_message = [self = shared_from_this(), id](Message message) {
      self->hear(id, std::move(message));
    };
    handlers.on_closed = [self = shared_from_this(), id](const Error& why) { self->drop(id, why.message); };
    channel->start_handshake(std::move(handlers));
  }

  void hear(std::uint64_t id, Message message) {
    const auto at = handshakes_.find(id);
    if (at == handshakes_.end() || at->second->refused) return;
    Handshake& handshake = *at->second;
    if (auto* hello = std::get_if<Hello>(&message); hello != nullptr && !handshake.hello) {
      auto welcome = answer_hello(*hello, handlers_.describe(), options_.secret, handshake.own_nonce);
      if (!welcome) return refuse(handshake, welcome.error());
      handshake.hello = std::move(*hello);
      handshake.channel->send(*welcome);
      return;
    }
    const auto* confirm = std::get_if<Confirm>(&message);
    if (confirm == nullptr || !handshake.hello)
      return refuse(handshake, {Errc::malformed, "handshake out of order"});
    auto accepted = accept_confirm(*confirm, *handshake.hello, handshake.own_nonce, options_.secret);
    if (!accepted) return refuse(handshake, accepted.error());
    handshake.timer.cancel();
    std::shared_ptr<AsioChannel> channel = std::move(handshake.channel);
    handshakes_.erase(at);
    channel->end_handshake();
    monitoring::log_info("control_link_up", {{"peer", channel->peer()}});
    const auto on_channel = handlers_.on_channel;
    on_channel(std::move(channel));
  }

  // Says why, then ends; the handshake's deadline bounds how long the peer may take to read it.
  void refuse(Handshake& handshake, const Error& why) {
    handshake.refused = true;
    monitoring::log_warn("control_handshake_refused",
                         {{"peer", handshake.channel->peer()}, {"reason", why.message}});
    handshake.channel->send(Refusal{why.message.substr(0, 1024)});
    handshake.channel->close_when_sent();
  }

  void drop(std::uint64_t id, const std::string& why) {
    const auto at = handshakes_.find(id);
    if (at == handshakes_.end()) return;
    if (!at->second->refused) {
      monitoring::log_warn("control_handshake_failed",
                           {{"peer", at->second->channel->peer()}, {"reason", why}});
    }
    const auto handshake = std::move(at->second);
    handshakes_.erase(at);
    handshake->timer.cancel();
    handshake->channel->abandon();
  }

  asio::io_context& io_;
  const ControlServerOptions options_;
  ControlServerHandlers handlers_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::map<std::uint64_t, std::unique_ptr<Handshake>> handshakes_;
  std::uint64_t next_id_ = 1;
  // Shared with the channels that were handed out: they may outlive the server.
  std::shared_ptr<std::size_t> open_ = std::make_shared<std::size_t>(0);
  bool stopped_ = false;
};

class Server final : public ControlServer {
 public:
  explicit Server(std::shared_ptr<Core> core) : core_(std::move(core)), port_(core_->port()) {}
  ~Server() override { core_->stop(); }
  [[nodiscard]] std::uint16_t port() const override { return port_; }
  void stop_accepting() override { core_->stop(); }

 private:
  const std::shared_ptr<Core> core_;  // pending Asio operations share it
  const std::uint16_t port_;
};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::open(asio::io_context& io, ControlServerOptions options,
                                                           ControlServerHandlers handlers) {
  auto address = parse_host_port(options.listen);
  if (!address) return tl::unexpected(std::move(address).error());
  error_code failure;
  tcp::resolver resolver(io);
  const auto found =
      resolver.resolve(address->host, std::to_string(address->port), tcp::resolver::passive, failure);
  if (failure || found.empty()) {
    return monitoring::fail(Errc::configuration,
                            "listen address " + options.listen + ": " + failure.message());
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  if (options.secret.empty() && !endpoint.address().is_loopback()) {
    return monitoring::fail(Errc::configuration, "listen address " + options.listen +
                                                     " is not loopback: a control secret is required");
  }
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), failure);
  if (!failure) acceptor.set_option(tcp::acceptor::reuse_address(true), failure);
  if (!failure) acceptor.bind(endpoint, failure);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure)
    return monitoring::fail(Errc::io, "can't listen on " + options.listen + ": " + failure.message());
  auto core = std::make_shared<Core>(io, std::move(options), std::move(handlers), std::move(acceptor));
  core->accept();
  return std::make_unique<Server>(std::move(core));
}

}  // namespace leadline::transport
