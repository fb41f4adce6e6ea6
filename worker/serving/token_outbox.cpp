#include "worker/serving/token_outbox.h"

#include <algorithm>
#include <iterator>

namespace leadline::worker {

void TokenOutbox::push_token(LinkId link, transport::RequestId request, std::uint32_t index,
                             transport::SampledToken token) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    Pending& pending = links_[link];
    first = pending.messages.empty();
    auto [batch, fresh] = pending.open_batch.try_emplace(request, pending.messages.size());
    if (fresh) pending.messages.emplace_back(transport::TokenBatch{request, index, {}});
    std::get<transport::TokenBatch>(pending.messages[batch->second]).tokens.push_back(std::move(token));
  }
  if (first && notifier_) notifier_(link);
}

void TokenOutbox::push_finish(LinkId link, transport::Finish finish) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    Pending& pending = links_[link];
    first = pending.messages.empty();
    pending.open_batch.erase(finish.request);
    pending.messages.emplace_back(std::move(finish));
  }
  if (first && notifier_) notifier_(link);
}

void TokenOutbox::forget(LinkId link) {
  std::lock_guard lock(mutex_);
  links_.erase(link);
}

std::vector<transport::Message> TokenOutbox::take(LinkId link, std::size_t limit) {
  std::lock_guard lock(mutex_);
  auto found = links_.find(link);
  if (found == links_.end()) return {};
  Pending& pending = found->second;
  const auto end =
      pending.messages.begin() + static_cast<std::ptrdiff_t>(std::min(limit, pending.messages.size()));
  std::vector<transport::Message> taken(std::make_move_iterator(pending.messages.begin()),
                                        std::make_move_iterator(end));
  pending.messages.erase(pending.messages.begin(), end);
  pending.open_batch.clear();  // a taken batch may not grow; what stays starts new ones
  if (pending.messages.empty()) links_.erase(found);
  return taken;
}

std::size_t TokenOutbox::pending_messages() const {
  std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [link, pending] : links_) count += pending.messages.size();
  return count;
}

}  // namespace leadline::worker
