#pragma once
// ByteStream: one accepted TCP connection, plain or TLS, behind one small interface, so that connection.cpp
// is written and compiled once. Not a protocol. Thread: the I/O thread. Invariants: one read and one write at
// a time; callbacks never run inside the call that starts them.

#include <boost/asio/any_io_executor.hpp>
#include <boost/system/error_code.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>

namespace boost::asio::ssl {
class context;
}

namespace leadline::coordinator {

class ByteStream {
 public:
  using Done = std::function<void(boost::system::error_code, std::size_t)>;

  // tls null = plain. The context is held until the stream ends, so that a reload does not touch open
  // connections.
  static std::unique_ptr<ByteStream> create(boost::asio::ip::tcp::socket socket,
                                            std::shared_ptr<boost::asio::ssl::context> tls);
  virtual ~ByteStream() = default;

  virtual void handshake(std::function<void(boost::system::error_code)> done) = 0;  // at once when plain
  virtual void read_some(std::span<char> into, Done done) = 0;
  virtual void write_all(std::string_view bytes, Done done) = 0;  // bytes live until done
  virtual void shutdown_send() = 0;  // no more bytes follow; the peer's may still come
  virtual void close() = 0;          // both directions; pending operations end with operation_aborted
  virtual boost::asio::any_io_executor executor() = 0;
};

}  // namespace leadline::coordinator
