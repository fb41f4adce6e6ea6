#include "coordinator/fleet/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/coordinator/fleet/fake_worker.h"

namespace leadline::coordinator {
namespace {

using namespace transport;
using tests::FakeWorker;
using tests::run_until;

struct Sink final : GenerationSink {
  int lost = 0;
  void on_tokens(TokenBatch) override {}
  void on_finish(transport::Finish) override {}
  void on_link_lost(const std::string&) override { ++lost; }
};

class FleetTest : public testing::Test {
 protected:
  void open(FleetOptions options) {
    options.client.backoff_first = std::chrono::milliseconds(20);
    options.client.backoff_limit = std::chrono::milliseconds(50);
    auto fleet = Fleet::open(io_, options, [this] { ++changes_; });
    ASSERT_TRUE(fleet) << fleet.error().message;
    fleet_ = std::move(*fleet);
  }
  bool until_ready(std::size_t count) {
    return run_until(io_, [&] { return fleet_->snapshot().ready_workers() == count; });
  }
  boost::asio::io_context io_;
  std::unique_ptr<Fleet> fleet_;
  int changes_ = 0;
};

TEST_F(FleetTest, ShowsWhatEachWorkerIs) {
  FakeWorker one(io_), two(io_);
  two.status.phase = WorkerPhase::loading;
  two.status.loaded_bytes = 10;
  two.status.total_bytes = 40;
  FleetOptions options;
  options.workers = {one.address(), two.address(), "127.0.0.1:1"};
  open(options);
  ASSERT_TRUE(run_until(io_, [&] {
    const FleetSnapshot& now = fleet_->snapshot();
    return now.workers[0].ready() && now.workers[1].phase == WorkerPhase::loading && changes_ > 0 &&
           now.workers[2].last_error.find("refused") != std::string::npos;
  }));
  const FleetSnapshot now = fleet_->snapshot();
  ASSERT_EQ(now.workers.size(), 3U);
  EXPECT_EQ(now.workers[0].max_model_len, 512U);
  EXPECT_EQ(now.workers[0].model_fingerprint, "fp");
  EXPECT_FALSE(now.workers[1].ready());
  EXPECT_EQ(now.workers[1].loaded_bytes, 10U);
  EXPECT_EQ(now.workers[2].link, LinkState::connecting);
  EXPECT_EQ(now.find(now.workers[1].id)->address, two.address());
  EXPECT_EQ(now.find(WorkerId(77)), nullptr);
  EXPECT_EQ(fleet_->link(WorkerId(77)), nullptr);
}

TEST_F(FleetTest, AStalledOrDrainingWorkerIsNotReady) {
  FakeWorker worker(io_);
  FleetOptions options;
  options.workers = {worker.address()};
  open(options);
  ASSERT_TRUE(until_ready(1));
  worker.status.running = 2;
  worker.status.step_age_ms = 31'000;
  worker.say(worker.status);
  ASSERT_TRUE(until_ready(0));
  EXPECT_TRUE(fleet_->snapshot().workers[0].stalled);
  worker.status.step_age_ms = 10;
  worker.say(worker.status);
  ASSERT_TRUE(until_ready(1));
  fleet_->link(fleet_->snapshot().workers[0].id)->drain();
  EXPECT_EQ(fleet_->snapshot().ready_workers(), 0U) << "from the moment we asked";
  ASSERT_TRUE(run_until(io_, [&] { return !worker.heard.empty(); }));
  EXPECT_TRUE(worker.heard[0] == Message(Drain{}));
}

TEST_F(FleetTest, HeartbeatsAloneAreNoNews) {
  FakeWorker worker(io_);
  FleetOptions options;
  options.workers = {worker.address()};
  open(options);
  ASSERT_TRUE(until_ready(1));
  io_.restart();
  while (io_.poll() > 0) io_.restart();  // nothing is left to happen
  const int before = changes_;
  for (int i = 0; i < 5; ++i) {
    worker.status.steps += 10;
    worker.say(worker.status);
  }
  WorkerLink& link = *fleet_->link(WorkerId(0));
  ASSERT_TRUE(run_until(io_, [&] { return link.status().steps == 50; }));
  EXPECT_EQ(changes_, before);
  worker.status.waiting = 3;
  worker.say(worker.status);
  ASSERT_TRUE(run_until(io_, [&] { return changes_ == before + 1; }));
}

TEST_F(FleetTest, NamesAreResolvedToLinks) {
  FakeWorker worker(io_);
  FleetOptions options;
  options.workers_dns = {"localhost:" + std::to_string(worker.port())};
  options.dns_period = std::chrono::milliseconds(20);
  open(options);
  ASSERT_TRUE(until_ready(1));
  const auto find = [&] {
    for (const WorkerView& view : fleet_->snapshot().workers) {
      if (view.address == worker.address()) return view.id;
    }
    return WorkerId(99);
  };
  const WorkerId id = find();
  EXPECT_NE(id, WorkerId(99));
  run_until(io_, [round = 0]() mutable { return ++round > 20; });
  EXPECT_EQ(find(), id) << "the same address is the same worker";
}

TEST_F(FleetTest, LimitsAndAddressesAreChecked) {
  FleetOptions options;
  options.workers = {"nonsense"};
  EXPECT_EQ(Fleet::open(io_, options, nullptr).error().code, coordinator::Errc::configuration);
  options.workers = {};
  options.workers_dns = {"name-without-port"};
  EXPECT_EQ(Fleet::open(io_, options, nullptr).error().code, coordinator::Errc::configuration);
  options.workers_dns = {};
  options.workers = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"};
  options.max_workers = 2;
  open(options);
  EXPECT_EQ(fleet_->snapshot().workers.size(), 2U);
}

TEST_F(FleetTest, DestructionTellsOpenSinks) {
  FakeWorker worker(io_);
  FleetOptions options;
  options.workers = {worker.address()};
  open(options);
  ASSERT_TRUE(until_ready(1));
  Sink sink;
  Generate request;
  request.prompt = {1};
  request.max_tokens = 1;
  ASSERT_TRUE(fleet_->link(WorkerId(0))->generate(request, sink));
  EXPECT_EQ(fleet_->snapshot().workers[0].in_flight, 1U);
  fleet_.reset();
  EXPECT_EQ(sink.lost, 1);
}

}  // namespace
}  // namespace leadline::coordinator
