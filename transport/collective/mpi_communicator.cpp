// MpiCommunicator: collectives over MPI between hosts. Made of point-to-point messages on purpose: of few
// ranks a direct exchange is as fast as the library's collectives, and an unfinished receive names the rank
// that stalled, which a collective can't. A rank waits in a test loop with a deadline: spinning first,
// yielding, then napping, so that ranks that share cores go on.

#include <mpi.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "monitoring/check.h"
#include "transport/collective/mpi_session.h"

namespace leadline::transport {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kTag = 71;
constexpr std::size_t kMaxMessage = std::size_t{256} << 20;  // bytes of one MPI message; counts are int
constexpr auto kBusyTime = std::chrono::milliseconds(5);     // then naps between tests
constexpr long kNapNs = 50'000;
constexpr auto kLookPeriod = std::chrono::milliseconds(10);  // at the link while waiting

class MpiCommunicator final : public LinkedCommunicator {
 public:
  MpiCommunicator(std::unique_ptr<MpiSession> session, std::unique_ptr<GroupLink> link,
                  std::chrono::milliseconds stall_limit)
      : LinkedCommunicator(session->rank(), session->size(), std::move(link), nullptr, stall_limit),
        mpi_(std::move(session)) {
    link_->start_watching(nullptr);
  }
  ~MpiCommunicator() override {
    if (!link_->dead()) mpi_->close();
  }
  [[nodiscard]] const char* name() const override { return "mpi"; }
  Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv, StreamHandle) override;
  Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                      StreamHandle) override;
  Result<void> broadcast(std::span<std::byte> buffer, int root, StreamHandle) override;
  Result<void> barrier() override;

 private:
  void send_to(int peer, std::span<const std::byte> bytes);
  void receive_from(int peer, std::span<std::byte> bytes);
  Result<void> finish(const char* what);

  const std::unique_ptr<MpiSession> mpi_;
  // Owned by the step thread: the messages of the collective at hand.
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;  // of each request
  int post_error_ = MPI_SUCCESS;
};

void MpiCommunicator::send_to(int peer, std::span<const std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size(); done += kMaxMessage) {
    const auto count = static_cast<int>(std::min(kMaxMessage, bytes.size() - done));
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Isend(bytes.data() + done, count, MPI_BYTE, peer, kTag, MPI_COMM_WORLD, &request);
    if (code != MPI_SUCCESS) post_error_ = code;
    requests_.push_back(request);
    peers_.push_back(peer);
  }
}

void MpiCommunicator::receive_from(int peer, std::span<std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size(); done += kMaxMessage) {
    const auto count = static_cast<int>(std::min(kMaxMessage, bytes.size() - done));
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Irecv(bytes.data() + done, count, MPI_BYTE, peer, kTag, MPI_COMM_WORLD, &request);
    if (code != MPI_SUCCESS) post_error_ = code;
    requests_.push_back(request);
    peers_.push_back(peer);
  }
}

// After a loss the requests stay posted: MPI can't take back what a dead rank will never match. The buffers
// then stay MPI's; nobody drives MPI any more, and the process is about to end.
Result<void> MpiCommunicator::finish(const char* what) {
  const auto started = Clock::now();
  const bool cores_for_all = usable_cores() >= size_;
  auto next_look = started + kLookPeriod;
  for (int turn = 0;; ++turn) {
    int done = 0;
    int code = post_error_;
    if (code == MPI_SUCCESS) {
      code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
    }
    if (code != MPI_SUCCESS) {
      link_->fail("rank " + std::to_string(rank_) + ": MPI error " + std::to_string(code) + " in " + what);
      return tl::unexpected(link_->loss());
    }
    if (done != 0) {
      requests_.clear();
      peers_.clear();
      return {};
    }
    if (link_->dead()) return tl::unexpected(link_->loss());
    if (cores_for_all && turn < 1'000) continue;
    ::sched_yield();
    const auto now = Clock::now();
    if (now - started > kBusyTime) {
      const timespec nap{0, kNapNs};
      ::nanosleep(&nap, nullptr);
    }
    if (now < next_look) continue;
    next_look = now + kLookPeriod;
    if (auto alive = still_whole(started); !alive) return alive;
    if (now - started < stall_limit_) continue;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      int complete = 0;
      if (requests_[i] != MPI_REQUEST_NULL)
        MPI_Request_get_status(requests_[i], &complete, MPI_STATUS_IGNORE);
      if (requests_[i] != MPI_REQUEST_NULL && complete == 0) return stalled(peers_[i], what);
    }
  }
}

Result<void> MpiCommunicator::all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                                         StreamHandle) {
  check_part_sizes(send, recv);
  if (auto alive = link_->pump(); !alive) return alive;
  std::byte* own = recv.data() + rank_ * send.size();
  for (int step = 1; step < size_; ++step) {
    const int from = (rank_ + size_ - step) % size_;
    receive_from(from, recv.subspan(from * send.size(), send.size()));
  }
  for (int step = 1; step < size_; ++step) send_to((rank_ + step) % size_, send);
  if (!send.empty() && send.data() != own) std::memcpy(own, send.data(), send.size());
  return finish("all_gather");
}

Result<void> MpiCommunicator::gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                                     StreamHandle) {
  LEADLINE_CHECK(root >= 0 && root < size_, "gather: root is a rank of the group");
  if (auto alive = link_->pump(); !alive) return alive;
  if (rank_ != root) {
    send_to(root, send);
    return finish("gather");
  }
  check_part_sizes(send, recv);
  for (int from = 0; from < size_; ++from) {
    if (from != root) receive_from(from, recv.subspan(from * send.size(), send.size()));
  }
  std::byte* own = recv.data() + rank_ * send.size();
  if (!send.empty() && send.data() != own) std::memcpy(own, send.data(), send.size());
  return finish("gather");
}

Result<void> MpiCommunicator::broadcast(std::span<std::byte> buffer, int root, StreamHandle) {
  LEADLINE_CHECK(root >= 0 && root < size_, "broadcast: root is a rank of the group");
  if (auto alive = link_->pump(); !alive) return alive;
  if (rank_ != root) {
    receive_from(root, buffer);
  } else {
    for (int step = 1; step < size_; ++step) send_to((rank_ + step) % size_, buffer);
  }
  return finish("broadcast");
}

Result<void> MpiCommunicator::barrier() {
  if (auto alive = link_->pump(); !alive) return alive;
  std::vector<std::byte> marks(static_cast<std::size_t>(size_));
  const std::byte own{1};
  for (int other = 0; other < size_; ++other) {
    if (other != rank_) receive_from(other, std::span(&marks[other], 1));
  }
  for (int other = 0; other < size_; ++other) {
    if (other != rank_) send_to(other, std::span(&own, 1));
  }
  return finish("barrier");
}

}  // namespace

Result<std::unique_ptr<Communicator>> make_mpi_communicator(std::unique_ptr<MpiSession> session,
                                                            std::unique_ptr<GroupLink> link,
                                                            std::chrono::milliseconds stall_limit) {
  return std::unique_ptr<Communicator>(new MpiCommunicator(std::move(session), std::move(link), stall_limit));
}

}  // namespace leadline::transport
