#include "tests/support/metered_communicator.h"

#include <thread>

namespace leadline::tests {
namespace {

using transport::Result;
using transport::StreamHandle;

class MeteredCommunicator final : public transport::Communicator {
 public:
  MeteredCommunicator(std::unique_ptr<transport::Communicator> inner, std::shared_ptr<CollectiveMeter> meter,
                      std::chrono::microseconds delay)
      : inner_(std::move(inner)), meter_(std::move(meter)), delay_(delay) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  const char* name() const override { return inner_->name(); }

  Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                          StreamHandle s) override {
    count(recv.size());
    return inner_->all_gather(send, recv, s);
  }
  Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                      StreamHandle s) override {
    count(rank() == root ? recv.size() : send.size());
    return inner_->gather(send, recv, root, s);
  }
  Result<void> broadcast(std::span<std::byte> buffer, int root, StreamHandle s) override {
    count(buffer.size());
    return inner_->broadcast(buffer, root, s);
  }
  Result<void> barrier() override { return inner_->barrier(); }
  Result<void> announce_plan(std::span<const std::byte> plan) override {
    ++meter_->plans;
    meter_->plan_bytes += plan.size();
    if (delay_.count() > 0) std::this_thread::sleep_for(delay_);
    return inner_->announce_plan(plan);
  }
  Result<std::vector<std::byte>> await_plan() override { return inner_->await_plan(); }
  Result<void> check() override { return inner_->check(); }
  Result<void> await_stream(StreamHandle s) override { return inner_->await_stream(s); }
  void fail(std::string_view reason) override { inner_->fail(reason); }

 private:
  void count(std::size_t bytes) {
    ++meter_->collectives;
    meter_->bytes += bytes;
    if (delay_.count() > 0) std::this_thread::sleep_for(delay_);  // the law under test is the delay itself
  }

  // Constant after construction.
  const std::unique_ptr<transport::Communicator> inner_;
  const std::shared_ptr<CollectiveMeter> meter_;
  const std::chrono::microseconds delay_;
};

}  // namespace

std::unique_ptr<transport::Communicator> metered(std::unique_ptr<transport::Communicator> inner,
                                                 std::shared_ptr<CollectiveMeter> meter,
                                                 std::chrono::microseconds delay) {
  return std::make_unique<MeteredCommunicator>(std::move(inner), std::move(meter), delay);
}

}  // namespace leadline::tests
