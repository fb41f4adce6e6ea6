#pragma once
// Listener: accepts connections of the public port and owns them. Backs off when file descriptors run out; at
// the connection cap the connection that has waited longest for a request makes room. Stops first on
// shutdown. Thread: the I/O thread.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <set>
#include <string>

#include "coordinator/errc.h"
#include "coordinator/http/connection.h"
#include "coordinator/http/tls_context.h"

namespace leadline::coordinator {

class Listener {
 public:
  // Binds host:port (0 = any free port). tls may be null; it and `metrics` must outlive the listener.
  static Result<std::unique_ptr<Listener>> open(boost::asio::io_context& io, const std::string& host,
                                                std::uint16_t port, TlsContext* tls,
                                                std::shared_ptr<ConnectionContext> context);
  ~Listener();

  std::uint16_t port() const { return port_; }
  std::size_t connections() const { return connections_.size(); }
  void stop_accepting();  // idle connections close, busy ones after their answer
  void close_all();       // now

 private:
  Listener(boost::asio::io_context& io, TlsContext* tls, std::shared_ptr<ConnectionContext> context);
  void accept();
  void on_accept(boost::system::error_code error, boost::asio::ip::tcp::socket socket);
  bool make_room();

  boost::asio::io_context& io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer backoff_;
  TlsContext* tls_;
  const std::shared_ptr<ConnectionContext> context_;   // shared with connections (Asio lifetime)
  std::set<std::shared_ptr<Connection>> connections_;  // shared with pending operations (Asio lifetime)
  std::uint16_t port_ = 0;
  bool stopped_ = false;
};

}  // namespace leadline::coordinator
