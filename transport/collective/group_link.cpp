#include "transport/collective/group_link.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::transport {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxTextBytes = 4096;               // reasons, verdicts
constexpr std::size_t kMaxQueuedPlans = 4;                // rank 0 is at most one step ahead
constexpr std::chrono::milliseconds kLossNewsLimit{100};  // to tell one rank that the group died
constexpr std::chrono::milliseconds kGoodbyeLimit{2'000};

}  // namespace

GroupLink::GroupLink(int rank, int size, std::vector<std::unique_ptr<GroupSocket>> sockets,
                     std::chrono::milliseconds stall_limit)
    : rank_(rank),
      size_(size),
      stall_limit_(stall_limit),
      sockets_(std::move(sockets)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  LEADLINE_CHECK(wake_fd_ >= 0, "eventfd");
  for (const auto& socket : sockets_) socket->set_silence_limit(stall_limit_);
}

GroupLink::~GroupLink() {
  stop_watching();
  const auto deadline = Clock::now() + kGoodbyeLimit;
  if (!dead()) {
    for (const auto& socket : sockets_) {
      (void)socket->write_text(GroupFrameType::bye, "", Clock::now() + kLossNewsLimit);
      socket->shut_down_sending();
    }
    // Closing with unread bytes would reset the connection and lose what the peer has not read yet.
    for (const auto& socket : sockets_) {
      std::vector<GroupFrame> frames;
      while (socket->read_available(frames, SIZE_MAX >> 1) && Clock::now() < deadline) {
        frames.clear();
        if (!wait_readable(socket->fd(), deadline)) break;
      }
    }
  }
  ::close(wake_fd_);
}

Result<std::vector<std::byte>> GroupLink::offer_or_take(std::span<const std::byte> offer,
                                                        SteadyTime deadline) {
  if (rank_ == 0) {
    for (int peer = 1; peer < size_; ++peer) {
      auto sent = sockets_[peer - 1]->write(GroupFrameType::plan, offer, deadline);
      if (!sent)
        return monitoring::fail(Errc::rank_lost,
                                "rank " + std::to_string(peer) + ": " + sent.error().message);
    }
    return std::vector<std::byte>(offer.begin(), offer.end());
  }
  auto frame = sockets_[0]->read_one(kMaxTextBytes, deadline);
  if (!frame) return monitoring::fail(Errc::rank_lost, "rank 0: " + frame.error().message);
  return std::move(frame->bytes);
}

Result<std::string> GroupLink::settle(std::string_view own_verdict, SteadyTime deadline) {
  own_verdict = own_verdict.substr(0, kMaxTextBytes / 2);
  if (rank_ != 0) {
    auto sent = sockets_[0]->write_text(GroupFrameType::ready, own_verdict, deadline);
    if (!sent) return monitoring::fail(Errc::rank_lost, "rank 0: " + sent.error().message);
    auto verdict = sockets_[0]->read_one(kMaxTextBytes, deadline);
    if (!verdict) return monitoring::fail(Errc::rank_lost, "rank 0: " + verdict.error().message);
    return verdict->text();
  }
  std::string together(own_verdict);
  for (int peer = 1; peer < size_; ++peer) {
    auto verdict = sockets_[peer - 1]->read_one(kMaxTextBytes, deadline);
    const std::string who = "rank " + std::to_string(peer) + ": ";
    if (!verdict) return monitoring::fail(Errc::rank_lost, who + verdict.error().message);
    if (together.empty() && !verdict->bytes.empty()) together = who + verdict->text();
  }
  for (const auto& socket : sockets_) {
    auto sent = socket->write_text(GroupFrameType::ready, together, deadline);
    if (!sent) return monitoring::fail(Errc::rank_lost, sent.error().message);
  }
  return together;
}

Result<std::vector<std::string>> GroupLink::exchange(std::string_view own, std::size_t max_bytes,
                                                     SteadyTime deadline) {
  LEADLINE_CHECK(own.size() <= max_bytes && own.find('\n') == std::string_view::npos,
                 "a text of one line, at most as long as agreed");
  const auto lost = [](int rank, const Error& why) {
    return monitoring::fail(Errc::rank_lost, "rank " + std::to_string(rank) + ": " + why.message);
  };
  std::string all(own);
  if (rank_ != 0) {
    auto sent = sockets_[0]->write_text(GroupFrameType::ready, own, deadline);
    if (!sent) return lost(0, sent.error());
    auto answer = sockets_[0]->read_one(static_cast<std::size_t>(size_) * (max_bytes + 1), deadline);
    if (!answer) return lost(0, answer.error());
    all = answer->text();
  } else {
    for (int peer = 1; peer < size_; ++peer) {
      auto text = sockets_[peer - 1]->read_one(max_bytes, deadline);
      if (!text) return lost(peer, text.error());
      all += "\n" + text->text();
    }
    for (int peer = 1; peer < size_; ++peer) {
      auto sent = sockets_[peer - 1]->write_text(GroupFrameType::ready, all, deadline);
      if (!sent) return lost(peer, sent.error());
    }
  }
  std::vector<std::string> texts(1);
  for (const char c : all) {
    if (c == '\n')
      texts.emplace_back();
    else
      texts.back().push_back(c);
  }
  if (texts.size() != static_cast<std::size_t>(size_))
    return monitoring::fail(Errc::malformed,
                            std::to_string(texts.size()) + " texts of " + std::to_string(size_) + " ranks");
  return texts;
}

void GroupLink::start_watching(std::function<void()> on_loss) {
  on_loss_ = std::move(on_loss);
  if (rank_ == 0 && size_ > 1) watcher_ = std::thread([this] { watch(); });
}

void GroupLink::stop_watching() {
  leaving_.store(true, std::memory_order_release);
  wake();
  if (watcher_.joinable()) watcher_.join();
  on_loss_ = nullptr;
}

Result<void> GroupLink::announce(std::span<const std::byte> plan) {
  const auto deadline = Clock::now() + stall_limit_;
  for (int peer = 1; peer < size_; ++peer) {
    if (dead()) break;
    auto sent = sockets_[peer - 1]->write(
        GroupFrameType::plan, plan, deadline,
        [](void* self) { return static_cast<GroupLink*>(self)->dead(); }, this);
    if (!sent) fail("rank " + std::to_string(peer) + " takes no plan: " + sent.error().message);
  }
  if (dead()) return tl::unexpected(loss());
  return {};
}

Result<std::vector<std::byte>> GroupLink::await_plan(std::size_t max_bytes) {
  LEADLINE_CHECK(rank_ != 0, "await_plan is for ranks > 0");
  for (;;) {
    if (dead()) return tl::unexpected(loss());
    if (!plans_.empty()) {
      auto plan = std::move(plans_.front());
      plans_.pop_front();
      return plan;
    }
    if (departed() == 0) {
      die("rank 0 left the group");
      continue;
    }
    if (auto read = read_from_leader(max_bytes); !read || !plans_.empty()) continue;
    pollfd entries[2] = {{sockets_[0]->fd(), POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    ::poll(entries, 2, -1);  // asleep, for as long as it takes
  }
}

Result<void> GroupLink::pump() {
  if (!dead() && rank_ != 0) (void)read_from_leader(SIZE_MAX >> 1);
  if (dead()) return tl::unexpected(loss());
  return {};
}

Result<void> GroupLink::read_from_leader(std::size_t max_bytes) {
  if (departed() == 0 || plans_.size() >= kMaxQueuedPlans) return {};
  std::vector<GroupFrame> frames;
  auto read = sockets_[0]->read_available(frames, max_bytes);
  take(frames);
  if (!read && !dead() && departed() != 0) die("rank 0 is gone: " + read.error().message);
  if (dead()) return tl::unexpected(loss());
  return {};
}

void GroupLink::take(std::vector<GroupFrame>& frames) {
  for (GroupFrame& frame : frames) {
    switch (frame.type) {
      case GroupFrameType::plan:
        plans_.push_back(std::move(frame.bytes));
        break;
      case GroupFrameType::fail:
        die(frame.text());
        break;
      case GroupFrameType::bye:
        departed_.store(0, std::memory_order_release);
        break;
      case GroupFrameType::hello:
      case GroupFrameType::ready:
        die("rank 0 sent a frame of the start-up");
        break;
    }
  }
}

Error GroupLink::loss() const {
  const std::lock_guard lock(mutex_);
  return {Errc::rank_lost, reason_};
}

void GroupLink::die(std::string reason) {
  {
    const std::lock_guard lock(mutex_);
    if (dead_.load(std::memory_order_relaxed)) return;
    reason_ = std::move(reason);
    dead_.store(true, std::memory_order_release);
  }
  wake();
  if (on_loss_) on_loss_();
}

void GroupLink::wake() {
  const std::uint64_t one = 1;
  (void)!::write(wake_fd_, &one, sizeof one);
}

void GroupLink::tell_others(std::string_view reason) {
  for (const auto& socket : sockets_) {
    auto told = socket->write_text(GroupFrameType::fail, reason.substr(0, kMaxTextBytes),
                                   Clock::now() + kLossNewsLimit);
    // Whoever can't be told sees a closed connection instead.
    if (told) {
      socket->shut_down_sending();
    } else {
      socket->shut_down();
    }
  }
}

void GroupLink::fail(std::string_view reason) {
  if (dead()) return;
  die(std::string(reason));
  tell_others(loss().message);
}

void GroupLink::watch() {
  std::vector<pollfd> entries(sockets_.size() + 1);
  std::vector<char> open(sockets_.size(), 1);
  while (!leaving_.load(std::memory_order_acquire) && !dead()) {
    for (std::size_t i = 0; i < sockets_.size(); ++i)
      entries[i] = {open[i] ? sockets_[i]->fd() : -1, POLLIN, 0};
    entries.back() = {wake_fd_, POLLIN, 0};
    ::poll(entries.data(), entries.size(), -1);
    for (std::size_t i = 0; i < sockets_.size(); ++i) {
      if (entries[i].revents == 0) continue;
      bool still_open = true;
      hear(static_cast<int>(i) + 1, still_open);
      open[i] = still_open ? 1 : 0;
    }
  }
}

// What a rank says to rank 0: that the group is dead, or goodbye.
void GroupLink::hear(int peer_rank, bool& open) {
  std::vector<GroupFrame> frames;
  const auto read = sockets_[peer_rank - 1]->read_available(frames, kMaxTextBytes);
  for (const GroupFrame& frame : frames) {
    if (frame.type == GroupFrameType::fail) fail(frame.text());
    if (frame.type == GroupFrameType::bye) {
      departed_.store(peer_rank, std::memory_order_release);
      open = false;
    }
  }
  if (open && !read) {
    open = false;
    fail("rank " + std::to_string(peer_rank) + " is gone: " + read.error().message);
  }
}

}  // namespace leadline::transport
