#include "coordinator/http/listener.h"

#include <boost/asio/io_context.hpp>
#include <vector>

#include "monitoring/log.h"

namespace leadline::coordinator {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr int kBacklog = 1024;
constexpr std::chrono::milliseconds kAcceptBackoff{50};

}  // namespace

Listener::Listener(asio::io_context& io, TlsContext* tls, std::shared_ptr<ConnectionContext> context)
    : io_(io), acceptor_(io), backoff_(io), tls_(tls), context_(std::move(context)) {
  context_->on_closed = [this](const std::shared_ptr<Connection>& connection) {
    connections_.erase(connection);
  };
}

Listener::~Listener() {
  close_all();
  context_->on_closed = nullptr;
}

Result<std::unique_ptr<Listener>> Listener::open(asio::io_context& io, const std::string& host,
                                                 std::uint16_t port, TlsContext* tls,
                                                 std::shared_ptr<ConnectionContext> context) {
  std::unique_ptr<Listener> listener(new Listener(io, tls, std::move(context)));
  boost::system::error_code error;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty())
    return fail(Errc::configuration, "--host " + host + " is not an address of this machine");
  const tcp::endpoint endpoint = found.begin()->endpoint();
  auto& acceptor = listener->acceptor_;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kBacklog, error);
  if (error)
    return fail(Errc::io, "cannot listen on " + host + ":" + std::to_string(port) + ": " + error.message());
  listener->port_ = acceptor.local_endpoint().port();
  listener->accept();
  return listener;
}

void Listener::accept() {
  acceptor_.async_accept(
      [this](boost::system::error_code error, tcp::socket socket) { on_accept(error, std::move(socket)); });
}

void Listener::on_accept(boost::system::error_code error, tcp::socket socket) {
  if (stopped_ || error == asio::error::operation_aborted) return;
  if (error) {
    // Out of descriptors or memory: existing connections must end first; accepting at once would spin.
    monitoring::log_warn("accept_failed", {{"error", error.message()}});
    make_room();
    backoff_.expires_after(kAcceptBackoff);
    backoff_.async_wait([this](boost::system::error_code cancelled) {
      if (!cancelled && !stopped_) accept();
    });
    return;
  }
  if (connections_.size() < context_->limits.connections || make_room()) {
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    auto connection = std::make_shared<Connection>(
        ByteStream::create(std::move(socket), tls_ ? tls_->current() : nullptr), context_);
    connections_.insert(connection);
    connection->start();
  }  // else every connection has a request under way: the new one is closed as `socket` ends
  accept();
}

bool Listener::make_room() {
  std::shared_ptr<Connection> oldest;
  for (const auto& connection : connections_) {
    if (connection->is_waiting() && (!oldest || connection->waiting_since() < oldest->waiting_since()))
      oldest = connection;
  }
  if (!oldest) return false;
  oldest->close();
  return true;
}

void Listener::stop_accepting() {
  stopped_ = true;
  context_->draining = true;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  backoff_.cancel();
  const std::vector<std::shared_ptr<Connection>> open(connections_.begin(), connections_.end());
  for (const auto& connection : open) connection->close_when_idle();
}

void Listener::close_all() {
  const std::vector<std::shared_ptr<Connection>> open(connections_.begin(), connections_.end());
  for (const auto& connection : open) connection->close();
}

}  // namespace leadline::coordinator
