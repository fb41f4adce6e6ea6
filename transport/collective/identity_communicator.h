#pragma once
// IdentityCommunicator: the group of one rank: collectives are copies. Not for tests of more ranks.
// Thread: as communicator.h.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "transport/collective/communicator.h"

namespace leadline::transport {

class IdentityCommunicator final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] const char* name() const override { return "identity"; }
  Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                          StreamHandle stream) override;
  Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                      StreamHandle stream) override;
  Result<void> broadcast(std::span<std::byte> buffer, int root, StreamHandle stream) override;
  Result<void> barrier() override { return check(); }
  Result<void> announce_plan(std::span<const std::byte> plan) override;
  Result<std::vector<std::byte>> await_plan() override;  // nobody announces to rank 0: a broken invariant
  Result<void> check() override;
  void fail(std::string_view reason) override;

 private:
  std::atomic<bool> dead_{false};
  std::mutex mutex_;    // guards reason_
  std::string reason_;  // the first one
};

}  // namespace leadline::transport
