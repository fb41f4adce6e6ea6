#include "transport/collective/tcp_communicator.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

#include "monitoring/check.h"

namespace leadline::transport {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kLooks = 64;                     // before sleeping in poll()
constexpr std::chrono::milliseconds kNap{10};  // between looks at the link
constexpr std::chrono::milliseconds kNewsOfLossLimit{
    300};  // the link names who died; a closed end only who closed

}  // namespace

Result<std::unique_ptr<Communicator>> TcpCommunicator::create(const GroupIdentity& identity,
                                                              std::unique_ptr<GroupLink> link,
                                                              std::chrono::milliseconds stall_limit,
                                                              SteadyTime start_deadline) {
  auto mesh = TcpMesh::form(*link, identity, start_deadline, stall_limit);
  auto verdict = link->settle(mesh ? "" : mesh.error().message, start_deadline);
  if (!mesh) return tl::unexpected(std::move(mesh).error());
  if (!verdict) return tl::unexpected(std::move(verdict).error());
  if (!verdict->empty()) return monitoring::fail(Errc::io, "the ranks cannot reach each other: " + *verdict);
  return std::unique_ptr<Communicator>(
      new TcpCommunicator(identity, std::move(link), stall_limit, std::move(*mesh)));
}

TcpCommunicator::TcpCommunicator(const GroupIdentity& identity, std::unique_ptr<GroupLink> link,
                                 std::chrono::milliseconds stall_limit, std::unique_ptr<TcpMesh> mesh)
    : LinkedCommunicator(identity.rank, identity.size, std::move(link), nullptr, stall_limit),
      mesh_(std::move(mesh)) {
  link_->start_watching(nullptr);
}

TcpCommunicator::~TcpCommunicator() {
  link_->stop_watching();
}

// A peer's end closed. When several ranks end after a loss, the first close that is seen need not be the
// first that happened: the link's news names that one.
Result<void> TcpCommunicator::lost(int peer, const std::string& how) {
  const auto deadline = Clock::now() + kNewsOfLossLimit;
  while (Clock::now() < deadline) {
    if (auto alive = link_->pump(); !alive) return alive;
    const timespec nap{0, 2'000'000};
    ::nanosleep(&nap, nullptr);
  }
  const bool left = link_->departed() == peer;
  link_->fail("rank " + std::to_string(peer) + (left ? " left the group" : " is gone: " + how));
  return tl::unexpected(link_->loss());
}

Result<void> TcpCommunicator::exchange(const char* what) {
  if (auto alive = link_->pump(); !alive) return alive;
  mesh_->begin(posts_, wants_);
  posts_.clear();
  wants_.clear();
  const auto started = Clock::now();
  auto next_look = started + kNap;
  for (int look = 0;; ++look) {
    int peer = -1;
    auto done = mesh_->advance(peer);
    if (!done) return lost(peer, done.error().message);
    if (*done) return {};
    if (look < kLooks) {
      ::sched_yield();
      continue;
    }
    mesh_->wait_a_little(kNap);
    if (link_->dead()) return tl::unexpected(link_->loss());
    const auto now = Clock::now();
    if (now < next_look) continue;
    next_look = now + kNap;
    if (auto alive = still_whole(started); !alive) return alive;
    if (now - started >= stall_limit_) return stalled(mesh_->unfinished_peer(), what);
  }
}

Result<void> TcpCommunicator::all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                                         StreamHandle) {
  check_part_sizes(send, recv);
  for (int step = 1; step < size_; ++step) {
    const int to = (rank_ + step) % size_, from = (rank_ + size_ - step) % size_;
    posts_.push_back({to, send});
    wants_.push_back({from, recv.subspan(static_cast<std::size_t>(from) * send.size(), send.size())});
  }
  std::byte* own = recv.data() + static_cast<std::size_t>(rank_) * send.size();
  if (!send.empty() && send.data() != own) std::memcpy(own, send.data(), send.size());
  return exchange("all_gather");
}

Result<void> TcpCommunicator::gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                                     StreamHandle) {
  LEADLINE_CHECK(root >= 0 && root < size_, "gather: root is a rank of the group");
  if (rank_ != root) {
    posts_.push_back({root, send});
    return exchange("gather");
  }
  check_part_sizes(send, recv);
  for (int from = 0; from < size_; ++from)
    if (from != root)
      wants_.push_back({from, recv.subspan(static_cast<std::size_t>(from) * send.size(), send.size())});
  std::byte* own = recv.data() + static_cast<std::size_t>(rank_) * send.size();
  if (!send.empty() && send.data() != own) std::memcpy(own, send.data(), send.size());
  return exchange("gather");
}

Result<void> TcpCommunicator::broadcast(std::span<std::byte> buffer, int root, StreamHandle) {
  LEADLINE_CHECK(root >= 0 && root < size_, "broadcast: root is a rank of the group");
  if (rank_ != root) {
    wants_.push_back({root, buffer});
  } else {
    for (int step = 1; step < size_; ++step) posts_.push_back({(rank_ + step) % size_, buffer});
  }
  return exchange("broadcast");
}

Result<void> TcpCommunicator::barrier() {
  for (int step = 1; step < size_; ++step) {
    posts_.push_back({(rank_ + step) % size_, {}});
    wants_.push_back({(rank_ + size_ - step) % size_, {}});
  }
  return exchange("barrier");
}

}  // namespace leadline::transport
