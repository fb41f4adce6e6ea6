#pragma once
// TokenOutbox: the bounded hand-over of Token and Finish events from the step thread to the I/O thread. Not a
// socket queue: transport's channel has its own. Tokens of one request that wait here are coalesced into one
// TokenBatch.
//
// Thread: the step thread pushes; the I/O thread takes, one link at a time. Mutex-bearing (see RequestInbox).
// Invariants:
//   1. Per request: tokens in order, Finish last and once.
//   2. Memory is bounded by the live requests and their max_tokens: a slow link makes batches longer, not
//   more of them.
//   3. The notifier runs on the step thread, outside the lock, only when a link goes from empty to not empty.

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "transport/control/messages.h"
#include "worker/serving/request_inbox.h"

namespace leadline::worker {

class TokenOutbox {
 public:
  using Notifier = std::function<void(LinkId)>;
  void set_notifier(Notifier notifier) { notifier_ = std::move(notifier); }  // before the step thread starts

  void push_token(LinkId link, transport::RequestId request, std::uint32_t index,
                  transport::SampledToken token);
  void push_finish(LinkId link, transport::Finish finish);
  void forget(LinkId link);  // the link is gone; drops what waits for it

  // Messages of one link in order, at most `limit`; the rest stays and is taken by the next call.
  std::vector<transport::Message> take(LinkId link, std::size_t limit);
  [[nodiscard]] std::size_t pending_messages() const;

 private:
  struct Pending {
    std::vector<transport::Message> messages;
    std::map<transport::RequestId, std::size_t> open_batch;  // request -> index of its TokenBatch in messages
  };
  Notifier notifier_;  // constant after start
  // guarded by mutex_
  mutable std::mutex mutex_;
  std::map<LinkId, Pending> links_;
};

}  // namespace leadline::worker
