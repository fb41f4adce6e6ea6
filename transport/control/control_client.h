#pragma once
// ControlClient: the coordinator's end of one control link: dials, authenticates, and dials again with
// jittered back-off for as long as it lives. Not a fleet (coordinator/fleet) and no requests: what was in
// flight when a link broke is the caller's. Thread: one io_context with one thread; every function and every
// handler runs there. Invariants: names are resolved anew for every attempt; on_connected and on_disconnected
// alternate; no handler runs inside a call.

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

struct ControlClientOptions {
  std::string address;                          // HOST:PORT or [V6]:PORT
  std::string secret;                           // empty = none
  std::string model_fingerprint;                // demanded of the worker; "" = any
  std::chrono::milliseconds dial_limit{5'000};  // resolve, connect and handshake of one attempt
  std::chrono::milliseconds backoff_first{
      100};  // before the second attempt, doubled each time, +-50 % jitter
  std::chrono::milliseconds backoff_limit{5'000};
  std::uint64_t jitter_seed = 0;  // 0 = from the system; set in tests
  ChannelOptions channel;
};

struct ControlClientHandlers {
  std::function<void(const Welcome&)> on_connected;
  std::function<void(Message)> on_message;            // only between on_connected and on_disconnected
  std::function<void()> on_writable;                  // may be empty
  std::function<void(const Error&)> on_disconnected;  // the link was up and is not any more
  std::function<void(const Error&)>
      on_attempt_failed;  // refused: secret, version or fingerprint; may be empty
};

class ControlClient {
 public:
  // configuration: the address does not parse. Dialling begins when the io_context runs.
  static Result<std::unique_ptr<ControlClient>> open(boost::asio::io_context& io,
                                                     ControlClientOptions options,
                                                     ControlClientHandlers handlers);
  virtual ~ControlClient() = default;  // closes the link; no handler runs afterwards
  [[nodiscard]] virtual bool connected() const = 0;
  virtual SendOutcome send(const Message& message) = 0;  // closed while not connected
  virtual void stop() = 0;  // sends what is queued, closes, dials no more; on_disconnected still comes
};

}  // namespace leadline::transport
