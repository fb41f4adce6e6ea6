#include "transport/collective/identity_communicator.h"

#include <cstring>

#include "monitoring/check.h"

namespace leadline::transport {

Result<void> IdentityCommunicator::all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                                              StreamHandle) {
  LEADLINE_CHECK(recv.size() == send.size(), "all_gather: recv is size() * send");
  if (auto alive = check(); !alive) return alive;
  if (!send.empty() && send.data() != recv.data()) std::memcpy(recv.data(), send.data(), send.size());
  return {};
}

Result<void> IdentityCommunicator::gather(std::span<const std::byte> send, std::span<std::byte> recv,
                                          int root, StreamHandle stream) {
  LEADLINE_CHECK(root == 0, "gather: root is a rank of the group");
  return all_gather(send, recv, stream);
}

Result<void> IdentityCommunicator::broadcast(std::span<std::byte>, int root, StreamHandle) {
  LEADLINE_CHECK(root == 0, "broadcast: root is a rank of the group");
  return check();
}

Result<void> IdentityCommunicator::announce_plan(std::span<const std::byte> plan) {
  if (plan.size() > kMaxPlanBytes)
    return monitoring::fail(Errc::too_large, "plan of " + std::to_string(plan.size()));
  return check();
}

Result<std::vector<std::byte>> IdentityCommunicator::await_plan() {
  LEADLINE_CHECK(false, "await_plan is for ranks > 0");
  return monitoring::fail(Errc::unknown, "await_plan on rank 0");
}

Result<void> IdentityCommunicator::check() {
  if (!dead_.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock(mutex_);
  return monitoring::fail(Errc::rank_lost, reason_);
}

void IdentityCommunicator::fail(std::string_view reason) {
  const std::lock_guard lock(mutex_);
  if (dead_.load(std::memory_order_relaxed)) return;
  reason_ = reason;
  dead_.store(true, std::memory_order_release);
}

}  // namespace leadline::transport
