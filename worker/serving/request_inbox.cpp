#include "worker/serving/request_inbox.h"

#include <utility>

namespace leadline::worker {

std::optional<InboxGenerate> RequestInbox::try_push(InboxGenerate item) {
  {
    std::lock_guard lock(mutex_);
    if (closed_ || draining_ || requests_ >= capacity_) return item;
    items_.emplace_back(std::move(item));
    ++requests_;
  }
  arrived_.notify_one();
  return std::nullopt;
}

void RequestInbox::push(InboxItem item) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    if (std::holds_alternative<InboxDrain>(item)) draining_ = true;
    items_.push_back(std::move(item));
  }
  arrived_.notify_one();
}

void RequestInbox::push_cancel(LinkId link, transport::RequestId request) {
  push(InboxCancel{link, request});
}
void RequestInbox::push_link_lost(LinkId link) {
  push(InboxLinkLost{link});
}
void RequestInbox::push_drain() {
  push(InboxDrain{});
}

void RequestInbox::poke() {
  {
    std::lock_guard lock(mutex_);
    poked_ = true;
  }
  arrived_.notify_all();
}

void RequestInbox::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  arrived_.notify_all();
}

std::vector<InboxItem> RequestInbox::take(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (patience.count() > 0)
    arrived_.wait_for(lock, patience, [&] { return closed_ || poked_ || !items_.empty(); });
  poked_ = false;
  requests_ = 0;
  return std::exchange(items_, {});
}

bool RequestInbox::closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

std::size_t RequestInbox::waiting_requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}

}  // namespace leadline::worker
