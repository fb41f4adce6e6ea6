#pragma once
// WorkerLink: one control link to one worker, and which generation each message on it belongs to. Not a
// chooser of workers (routing/router) and not a retry (generation decides what a lost link means).
//
// Thread: the coordinator's io_context thread.
// Invariants:
//   1. Each accepted generate() ends in exactly one of: on_finish, on_link_lost, or the caller's own
//   abandon().
//   2. No sink is called from inside generate, cancel or abandon; after the end of (1) a sink is never
//   touched again.
//   3. Request ids are unique for the life of the link and come from here.
//   4. At most max_in_flight generations are open.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/errc.h"
#include "transport/control/control_client.h"
#include "transport/control/messages.h"

namespace leadline::coordinator {

// Who is told about one generation. Not owned by the link: it must live until the end of invariant 1.
class GenerationSink {
 public:
  virtual void on_tokens(
      transport::TokenBatch batch) = 0;                  // consecutive: first_index follows what came before
  virtual void on_finish(transport::Finish finish) = 0;  // the last call
  virtual void on_link_lost(
      const std::string& why) = 0;  // the last call: the worker may or may not have worked on it

 protected:
  ~GenerationSink() = default;
};

enum class LinkState : std::uint8_t {
  connecting,  // not up: dialling, with back-off
  refused,  // not up: the last handshake was refused (secret, version, fingerprint); still dialling, slowly
  connected,
};

struct WorkerLinkOptions {
  transport::ControlClientOptions client;  // address, secret, fingerprint, heartbeats
  std::size_t max_in_flight = 4096;        // generations on this link
};

struct WorkerLinkHandlers {
  std::function<void()> on_change;  // state(), status() or welcome() differs
};

class WorkerLink {
 public:
  static Result<std::unique_ptr<WorkerLink>> open(boost::asio::io_context& io, WorkerLinkOptions options,
                                                  WorkerLinkHandlers handlers);
  virtual ~WorkerLink() = default;  // closes; sinks that are open get on_link_lost before it returns

  // Sends `request` under a fresh id (its `request` field is set here). unavailable: not connected, or bounds
  // reached: nothing was sent, and the sink is not touched.
  virtual Result<transport::RequestId> generate(transport::Generate request, GenerationSink& sink) = 0;
  // Asks the worker to stop; tokens may still come, on_finish will. Unknown ids are ignored.
  virtual void cancel(transport::RequestId id) = 0;
  // Cancels and forgets: the sink hears nothing more. Unknown ids are ignored.
  virtual void abandon(transport::RequestId id) = 0;
  virtual void drain() = 0;  // asks the worker to take nothing new and leave

  [[nodiscard]] virtual LinkState state() const = 0;
  [[nodiscard]] virtual const std::string& address() const = 0;
  [[nodiscard]] virtual const std::string& last_error() const = 0;      // "" when connected
  [[nodiscard]] virtual const transport::Welcome& welcome() const = 0;  // of the last handshake, else empty
  [[nodiscard]] virtual const transport::Status& status() const = 0;    // last received; phase unknown before
  [[nodiscard]] virtual std::size_t in_flight() const = 0;  // generations open from this coordinator
};

}  // namespace leadline::coordinator
