#pragma once
// RequestInbox: the bounded hand-over from the I/O thread (control links) to the step thread. Not a scheduler
// queue: what is taken out here is waiting in the scheduler's view from then on.
//
// Thread: any thread pushes; the step thread takes. One of the two mutex-bearing classes of a worker (the
// other: TokenOutbox). Invariants:
//   1. At most `capacity` requests wait; a full, draining or closed inbox hands the request back to its
//   pusher.
//   2. Cancels and lost links are never refused: they hold a few bytes each, at most one per accepted request
//   or link.
//   3. take() returns everything that was pushed before it, in the order of pushing.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "transport/control/messages.h"

namespace leadline::worker {

// One control link, as the step thread knows it; never reused. Requests are named by (link, request id).
struct LinkId {
  std::uint64_t value = 0;
  friend auto operator<=>(LinkId, LinkId) = default;
};

struct InboxGenerate {
  LinkId link;
  transport::Generate request;
  std::chrono::steady_clock::time_point received;
};
struct InboxCancel {
  LinkId link;
  transport::RequestId request;
};
struct InboxLinkLost {  // everything of this link is cancelled, silently
  LinkId link;
};
struct InboxDrain {};
using InboxItem = std::variant<InboxGenerate, InboxCancel, InboxLinkLost, InboxDrain>;

class RequestInbox {
 public:
  explicit RequestInbox(std::size_t capacity) : capacity_(capacity) {}

  // Non-empty = handed back: full, draining or closed.
  [[nodiscard]] std::optional<InboxGenerate> try_push(InboxGenerate item);
  void push_cancel(LinkId link, transport::RequestId request);
  void push_link_lost(LinkId link);
  void push_drain();
  void poke();   // wakes the taker: something else than a message happened
  void close();  // wakes the taker; everything is handed back from now on

  // All items so far; waits at most `patience` for the first one (0 = does not wait).
  std::vector<InboxItem> take(std::chrono::milliseconds patience);
  [[nodiscard]] bool closed() const;
  [[nodiscard]] std::size_t waiting_requests() const;

 private:
  void push(InboxItem item);

  const std::size_t capacity_;
  // guarded by mutex_
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<InboxItem> items_;
  std::size_t requests_ = 0;  // InboxGenerate among items_
  bool closed_ = false;
  bool draining_ = false;
  bool poked_ = false;
};

}  // namespace leadline::worker
