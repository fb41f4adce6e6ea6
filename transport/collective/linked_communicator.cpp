#include "transport/collective/linked_communicator.h"

#include <sched.h>

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::transport {

LinkedCommunicator::LinkedCommunicator(int rank, int size, std::unique_ptr<GroupLink> link,
                                       std::unique_ptr<LaunchSession> session,
                                       std::chrono::milliseconds stall_limit)
    : rank_(rank),
      size_(size),
      stall_limit_(stall_limit),
      link_(std::move(link)),
      session_(std::move(session)) {}

LinkedCommunicator::~LinkedCommunicator() {
  if (session_ != nullptr && !link_->dead()) session_->close();
}

Result<void> LinkedCommunicator::announce_plan(std::span<const std::byte> plan) {
  LEADLINE_CHECK(rank_ == 0, "only rank 0 announces plans");
  if (plan.size() > kMaxPlanBytes) {
    return monitoring::fail(Errc::too_large, "plan of " + std::to_string(plan.size()) + " bytes");
  }
  return link_->announce(plan);
}

Result<std::vector<std::byte>> LinkedCommunicator::await_plan() {
  return link_->await_plan(kMaxPlanBytes);
}

Result<void> LinkedCommunicator::still_whole(SteadyTime started) {
  if (auto alive = link_->pump(); !alive) return alive;
  // What a rank sent before its goodbye may still be on its way.
  constexpr std::chrono::milliseconds kGrace{1'000};
  if (link_->departed() >= 0 && std::chrono::steady_clock::now() - started > kGrace) {
    link_->fail("rank " + std::to_string(link_->departed()) + " left the group");
    return tl::unexpected(link_->loss());
  }
  return {};
}

tl::unexpected<Error> LinkedCommunicator::stalled(int other, const char* what) {
  link_->fail("rank " + std::to_string(other) + " stalled: rank " + std::to_string(rank_) + " waited " +
              std::to_string(stall_limit_.count()) + " ms for it in " + what);
  return tl::unexpected(link_->loss());
}

void LinkedCommunicator::check_part_sizes(std::span<const std::byte> send, std::span<std::byte> recv) const {
  LEADLINE_CHECK(recv.size() == send.size() * static_cast<std::size_t>(size_),
                 "recv has size() * send.size() bytes");
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace leadline::transport
