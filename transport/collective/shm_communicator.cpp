#include "transport/collective/shm_communicator.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "monitoring/check.h"

namespace leadline::transport {

namespace {

constexpr int kSpins = 2'000;  // some tens of microseconds
constexpr int kYields = 8;
constexpr long kSleepNs = 20'000'000;  // between looks at the link while asleep

void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen) {
  const timespec limit{0, kSleepNs};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void futex_wake(const std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool reached(std::uint32_t posted, std::uint32_t round) {
  return static_cast<std::int32_t>(posted - round) >= 0;
}

}  // namespace

Result<std::unique_ptr<Communicator>> ShmCommunicator::create(int rank, int size,
                                                              std::unique_ptr<GroupLink>& link,
                                                              std::unique_ptr<LaunchSession>& session,
                                                              std::chrono::milliseconds stall_limit,
                                                              SteadyTime start_deadline) {
  std::unique_ptr<ShmSegment> segment;
  std::string verdict, name;
  if (rank == 0) {
    auto made = ShmSegment::create(size);
    if (made) {
      segment = std::move(*made);
      name = segment->name();
    } else {
      verdict = made.error().message;
    }
  }
  auto offer = link->offer_or_take(std::as_bytes(std::span(name)), start_deadline);
  if (!offer) return tl::unexpected(std::move(offer).error());
  if (rank != 0 && !offer->empty()) {
    auto opened =
        ShmSegment::open(std::string(reinterpret_cast<const char*>(offer->data()), offer->size()), size);
    if (opened) {
      segment = std::move(*opened);
    } else {
      verdict = opened.error().message;
    }
  }
  auto together = link->settle(verdict, start_deadline);
  if (!together) return tl::unexpected(std::move(together).error());
  if (!together->empty()) return monitoring::fail(Errc::io, "no common shared memory: " + *together);
  segment->unlink();
  return std::unique_ptr<Communicator>(
      new ShmCommunicator(rank, size, std::move(link), std::move(session), stall_limit, std::move(segment)));
}

ShmCommunicator::ShmCommunicator(int rank, int size, std::unique_ptr<GroupLink> link,
                                 std::unique_ptr<LaunchSession> session,
                                 std::chrono::milliseconds stall_limit, std::unique_ptr<ShmSegment> segment)
    : LinkedCommunicator(rank, size, std::move(link), std::move(session), stall_limit),
      segment_(std::move(segment)),
      spins_(usable_cores() >= size ? kSpins : 0) {
  link_->start_watching([this] { end_for_all(); });
}

// The watcher and fail() use the segment, which goes before the link does.
ShmCommunicator::~ShmCommunicator() {
  link_->stop_watching();
}

void ShmCommunicator::end_for_all() const {
  segment_->dead().store(1, std::memory_order_release);
  for (int rank = 0; rank < size_; ++rank) futex_wake(segment_->cell(rank).posted);
}

bool ShmCommunicator::group_dead() const {
  return segment_->dead().load(std::memory_order_acquire) != 0 || link_->dead();
}

// The flag is faster than the reason, which travels over the link.
Result<void> ShmCommunicator::why_dead() {
  for (int look = 0; look < 50; ++look) {
    if (auto alive = link_->pump(); !alive) return alive;
    const timespec nap{0, 5'000'000};
    ::nanosleep(&nap, nullptr);
  }
  link_->fail("a rank ended the group and gave no reason");
  return tl::unexpected(link_->loss());
}

Result<void> ShmCommunicator::wait_for(int other, std::uint32_t round, SteadyTime deadline,
                                       const char* what) {
  ShmSegment::RankCell& cell = segment_->cell(other);
  for (int look = 0; look < spins_ + kYields; ++look) {
    if (reached(cell.posted.load(std::memory_order_acquire), round)) return {};
    if (look < spins_) {
      pause_core();
    } else {
      ::sched_yield();
    }
  }
  for (;;) {
    cell.waiters.fetch_add(1, std::memory_order_seq_cst);
    const std::uint32_t seen = cell.posted.load(std::memory_order_seq_cst);
    if (!reached(seen, round) && !group_dead()) futex_wait(cell.posted, seen);
    cell.waiters.fetch_sub(1, std::memory_order_relaxed);
    if (reached(cell.posted.load(std::memory_order_acquire), round)) return {};
    if (group_dead()) return why_dead();
    if (auto alive = still_whole(deadline - stall_limit_); !alive) return alive;
    if (std::chrono::steady_clock::now() >= deadline) return stalled(other, what);
  }
}

Result<void> ShmCommunicator::enter_round(SteadyTime deadline, const char* what) {
  if (group_dead()) return why_dead();
  for (int other = 0; other < size_; ++other) {
    if (other == rank_) continue;
    if (auto there = wait_for(other, round_, deadline, what); !there) return there;
  }
  ++round_;
  return {};
}

void ShmCommunicator::post(std::span<const std::byte> bytes) {
  ShmSegment::RankCell& cell = segment_->cell(rank_);
  if (!bytes.empty()) std::memcpy(segment_->slot(rank_, round_ & 1), bytes.data(), bytes.size());
  cell.bytes[round_ & 1] = bytes.size();
  cell.posted.store(round_, std::memory_order_seq_cst);
  if (cell.waiters.load(std::memory_order_seq_cst) > 0) futex_wake(cell.posted);
}

Result<void> ShmCommunicator::read_from(int other, std::span<std::byte> into, SteadyTime deadline,
                                        const char* what) {
  if (auto there = wait_for(other, round_, deadline, what); !there) return there;
  LEADLINE_CHECK(segment_->cell(other).bytes[round_ & 1] == into.size(),
                 "ranks call the same collectives with the same byte counts");
  if (!into.empty()) std::memcpy(into.data(), segment_->slot(other, round_ & 1), into.size());
  return {};
}

Result<void> ShmCommunicator::all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                                         StreamHandle) {
  check_part_sizes(send, recv);
  const auto until = deadline();
  std::byte* own = recv.data() + rank_ * send.size();
  std::size_t done = 0;
  do {
    const std::size_t count = std::min(send.size() - done, ShmSegment::kSlotBytes);
    if (auto entered = enter_round(until, "all_gather"); !entered) return entered;
    post(send.subspan(done, count));
    for (int step = 1; step < size_; ++step) {
      const int other = (rank_ + step) % size_;
      auto got = read_from(other, recv.subspan(other * send.size() + done, count), until, "all_gather");
      if (!got) return got;
    }
    done += count;
  } while (done < send.size());
  if (!send.empty() && send.data() != own) std::memcpy(own, send.data(), send.size());
  return {};
}

Result<void> ShmCommunicator::gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                                     StreamHandle) {
  LEADLINE_CHECK(root >= 0 && root < size_, "gather: root is a rank of the group");
  if (rank_ == root) check_part_sizes(send, recv);
  const auto until = deadline();
  std::size_t done = 0;
  do {
    const std::size_t count = std::min(send.size() - done, ShmSegment::kSlotBytes);
    if (auto entered = enter_round(until, "gather"); !entered) return entered;
    post(rank_ == root ? std::span<const std::byte>() : send.subspan(done, count));
    for (int other = 0; rank_ == root && other < size_; ++other) {
      if (other == root) continue;
      auto got = read_from(other, recv.subspan(other * send.size() + done, count), until, "gather");
      if (!got) return got;
    }
    done += count;
  } while (done < send.size());
  if (rank_ == root && !send.empty()) {
    std::byte* own = recv.data() + rank_ * send.size();
    if (send.data() != own) std::memcpy(own, send.data(), send.size());
  }
  return {};
}

Result<void> ShmCommunicator::broadcast(std::span<std::byte> buffer, int root, StreamHandle) {
  LEADLINE_CHECK(root >= 0 && root < size_, "broadcast: root is a rank of the group");
  const auto until = deadline();
  std::size_t done = 0;
  do {
    const std::size_t count = std::min(buffer.size() - done, ShmSegment::kSlotBytes);
    if (auto entered = enter_round(until, "broadcast"); !entered) return entered;
    post(rank_ == root ? std::span<const std::byte>(buffer.subspan(done, count))
                       : std::span<const std::byte>());
    if (rank_ != root) {
      if (auto got = read_from(root, buffer.subspan(done, count), until, "broadcast"); !got) return got;
    }
    done += count;
  } while (done < buffer.size());
  return {};
}

Result<void> ShmCommunicator::barrier() {
  const auto until = deadline();
  if (auto entered = enter_round(until, "barrier"); !entered) return entered;
  post({});
  for (int other = 0; other < size_; ++other) {
    if (other == rank_) continue;
    if (auto there = wait_for(other, round_, until, "barrier"); !there) return there;
  }
  return {};
}

}  // namespace leadline::transport
