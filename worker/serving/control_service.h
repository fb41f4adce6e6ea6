#pragma once
// ControlService: the I/O thread of rank 0. Accepts coordinators' links, turns their messages into inbox
// items and the outbox's events into frames, and sends Status at a fixed period. Not a scheduler: it never
// looks at a sequence.
//
// Thread: owns one thread with one io_context; open, stop and post_* may be called from outside, handlers run
// inside. Invariants:
//   1. A request that the inbox hands back is answered with Finish{overloaded} at once.
//   2. A link above its high-water mark gets nothing more until it is writable again: tokens wait coalesced
//   in the outbox.
//   3. A link that closes cancels everything it asked for.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "transport/control/control_server.h"
#include "worker/errc.h"
#include "worker/serving/request_inbox.h"
#include "worker/serving/token_outbox.h"
#include "worker/serving/worker_status.h"

namespace leadline::worker {

struct ControlServiceOptions {
  transport::ControlServerOptions server;
  transport::Welcome identity;  // nonce and mac are the server's
  std::chrono::milliseconds status_period{250};
  std::function<void(std::size_t links)> on_links;                 // after each change; may be empty
  std::function<void(const transport::Error& why)> on_link_ended;  // may be empty
};

class ControlService {
 public:
  // The three outlive the service. Listens at once, so open it when the worker is ready.
  static Result<std::unique_ptr<ControlService>> open(ControlServiceOptions options, RequestInbox& inbox,
                                                      TokenOutbox& outbox, const WorkerStatus& status);
  virtual ~ControlService() = default;  // joins the thread
  [[nodiscard]] virtual std::uint16_t port() const = 0;

  // Any thread: a link has something in the outbox (the outbox's notifier), or the phase changed.
  virtual void flush(LinkId link) = 0;
  virtual void announce_status() = 0;
  // Stops accepting, sends what is queued, closes the links; returns when done or after `patience`.
  virtual void shut_down(std::chrono::milliseconds patience) = 0;
};

}  // namespace leadline::worker
