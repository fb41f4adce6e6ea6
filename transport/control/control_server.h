#pragma once
// ControlServer: the worker's end of the control links: accepts, authenticates, hands out channels. Not a
// router of requests. Thread: one io_context with one thread; open, stop_accepting and the callbacks run
// there. Invariants:
//   1. Without a secret it binds loopback addresses only (Errc::configuration otherwise).
//   2. A channel is handed out only after both sides proved the secret (messages.h) and version and
//   fingerprint agreed.
//   3. At most max_connections sockets are open at once, handshakes included; later ones are closed on
//   accept.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "transport/control/channel.h"

namespace boost::asio {
class io_context;
}

namespace leadline::transport {

struct ControlServerOptions {
  std::string listen = "127.0.0.1:0";  // HOST:PORT or [V6]:PORT; port 0 = any free one
  std::string secret;                  // shared with the coordinators; empty = none, loopback only
  std::chrono::milliseconds handshake_limit{5'000};  // from accept to the coordinator's proof
  std::size_t max_connections = 64;
  ChannelOptions channel;
};

struct ControlServerHandlers {
  // What this worker is, asked at each handshake; nonce and mac are filled in by the server. Called on the io
  // thread.
  std::function<Welcome()> describe;
  // A coordinator has proved itself. Keep the channel and call start() on it; send the first Status.
  std::function<void(std::shared_ptr<Channel>)> on_channel;
};

class ControlServer {
 public:
  // Binds and begins to accept when the io_context runs. configuration: address or secret; io: the port is
  // taken.
  static Result<std::unique_ptr<ControlServer>> open(boost::asio::io_context& io,
                                                     ControlServerOptions options,
                                                     ControlServerHandlers handlers);
  virtual ~ControlServer() = default;  // channels that were handed out live on
  [[nodiscard]] virtual std::uint16_t port() const = 0;
  virtual void stop_accepting() = 0;  // also ends handshakes that are under way
};

}  // namespace leadline::transport
