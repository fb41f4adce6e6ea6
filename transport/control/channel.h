#pragma once
// Channel: one ordered, authenticated stream of messages over a TCP connection. Not a dialler
// (control_client) and not a listener (control_server): both hand out channels after the handshake. Asio
// stays in the .cpp.
//
// Thread: belongs to one io_context with one thread; callbacks run there. send, queued_bytes, close_when_sent
// and close may be called from any thread (they post). Invariants:
//   1. Messages arrive in the order in which one thread sent them; on_closed comes once, and nothing after
//   it.
//   2. At most send_limit_bytes wait unsent: a send beyond it is refused, and the message is not sent in
//   part.
//   3. A peer from which nothing came for silence_limit is closed with Errc::timeout, also when packets
//   vanish without a reset.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "transport/control/messages.h"
#include "transport/errc.h"

namespace leadline::transport {

struct ChannelOptions {
  std::size_t send_high_water_bytes = std::size_t{1}
                                      << 20;  // above it send says so: the caller coalesces or waits
  std::size_t send_limit_bytes = std::size_t{64} << 20;  // above it send refuses
  std::chrono::milliseconds ping_period{2'500};          // a ping goes out this often
  std::chrono::milliseconds silence_limit{10'000};       // nothing received for this long: the peer is dead
};

enum class SendOutcome : std::uint8_t {
  queued,                   // on its way
  queued_above_high_water,  // on its way, but slow down: on_writable follows once the queue is below half of
                            // the mark
  refused,  // not queued: send_limit_bytes reached, or the message breaks a limit of the codec (logged)
  closed,   // not queued: the channel is closed
};

struct ChannelHandlers {
  std::function<void(Message)> on_message;  // Ping and Pong are answered inside and not shown
  std::function<void()> on_writable;        // may be empty
  std::function<void(Error)> on_closed;     // Errc::closed when the peer or we ended it in good order
};

class Channel {
 public:
  virtual ~Channel() = default;

  // Begins receiving. Once, on the io_context's thread, in the callback that handed the channel out or later.
  virtual void start(ChannelHandlers handlers) = 0;

  virtual SendOutcome send(const Message& message) = 0;
  [[nodiscard]] virtual std::size_t queued_bytes() const = 0;

  // Sends what is queued, then half-closes; the peer's messages still arrive until it closes, too (or
  // silence_limit).
  virtual void close_when_sent() = 0;
  // Closes now; on_closed follows with Errc::closed and this reason (never from inside this call).
  virtual void close(std::string reason) = 0;

  // Closes now, and no handler runs any more: for an owner that goes away. On the io_context's thread only.
  // Dropping the pointer alone does not close: pending operations keep a channel alive.
  virtual void abandon() = 0;

  [[nodiscard]] virtual const std::string& peer() const = 0;  // "10.0.0.2:53124", for logs
};

}  // namespace leadline::transport
