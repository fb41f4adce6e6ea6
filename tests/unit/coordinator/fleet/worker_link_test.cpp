#include "coordinator/fleet/worker_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "tests/unit/coordinator/fleet/fake_worker.h"

namespace leadline::coordinator {
namespace {

using namespace transport;
using testing::HasSubstr;
using tests::FakeWorker;
using tests::run_until;

struct Sink final : GenerationSink {
  std::vector<TokenBatch> batches;
  std::vector<transport::Finish> finishes;
  std::vector<std::string> losses;
  std::function<void()> then;  // when lost
  void on_tokens(TokenBatch batch) override { batches.push_back(std::move(batch)); }
  void on_finish(transport::Finish finish) override { finishes.push_back(std::move(finish)); }
  void on_link_lost(const std::string& why) override {
    losses.push_back(why);
    if (then) then();
  }
  [[nodiscard]] std::size_t ends() const { return finishes.size() + losses.size(); }
};

class WorkerLinkTest : public testing::Test {
 protected:
  void SetUp() override {
    worker_ = std::make_unique<FakeWorker>(io_);
    WorkerLinkOptions options;
    options.client.address = worker_->address();
    options.client.backoff_first = std::chrono::milliseconds(20);
    options.client.backoff_limit = std::chrono::milliseconds(50);
    options.max_in_flight = 3;
    link_ = std::move(*WorkerLink::open(io_, options, {[this] { ++changes_; }}));
    ASSERT_TRUE(run_until(io_, [&] { return link_->status().phase == WorkerPhase::ready; }));
  }
  RequestId start(Sink& sink, std::vector<TokenId> generated = {}) {
    Generate request;
    request.prompt = {1, 2, 3};
    request.generated = std::move(generated);
    request.max_tokens = 10;
    auto id = link_->generate(request, sink);
    EXPECT_TRUE(id);
    return *id;
  }
  bool heard(std::size_t count) {
    return run_until(io_, [&] { return worker_->heard.size() >= count; });
  }

  Sink& sink() { return sinks_.emplace_back(); }

  boost::asio::io_context io_;
  std::deque<Sink> sinks_;  // outlive the link, as its contract demands
  std::unique_ptr<FakeWorker> worker_;
  std::unique_ptr<WorkerLink> link_;
  int changes_ = 0;
};

TokenBatch tokens(RequestId id, std::uint32_t first, int count) {
  return {id, first, std::vector<SampledToken>(static_cast<std::size_t>(count), SampledToken{7, 0, {}})};
}

TEST_F(WorkerLinkTest, EventsReachTheirOwnSink) {
  Sink &one = sink(), &two = sink();
  const RequestId a = start(one), b = start(two, {5, 6});
  EXPECT_NE(a, b);
  ASSERT_TRUE(heard(2));
  EXPECT_EQ(std::get<Generate>(worker_->heard[0]).request, a);
  EXPECT_EQ(std::get<Generate>(worker_->heard[1]).request, b);
  worker_->say(tokens(b, 2, 2));  // failover: positions go on after the two that it was given
  worker_->say(tokens(a, 0, 1));
  worker_->say(tokens(a, 1, 3));
  worker_->say(transport::Finish{a, FinishReason::stop, "", 2, 3, 0, 4, 0, 1, 2, 3});
  ASSERT_TRUE(run_until(io_, [&] { return one.ends() == 1; }));
  EXPECT_EQ(one.batches.size(), 2U);
  EXPECT_EQ(two.batches.size(), 1U);
  EXPECT_EQ(one.finishes[0].generated_tokens, 4U);
  EXPECT_EQ(link_->in_flight(), 1U);
}

TEST_F(WorkerLinkTest, ALostLinkEndsEveryGenerationOnceAndComesBackClean) {
  Sink &one = sink(), &two = sink();
  start(one);
  start(two);
  one.then = [&] {
    Sink& again = sink();
    EXPECT_FALSE(link_->generate({}, again)) << "the link is down when its sinks are told";
  };
  ASSERT_TRUE(heard(2));
  worker_->channel->abandon();
  ASSERT_TRUE(run_until(io_, [&] { return one.ends() == 1 && two.ends() == 1; }));
  EXPECT_THAT(one.losses[0], HasSubstr(worker_->address()));
  EXPECT_EQ(link_->in_flight(), 0U);
  ASSERT_TRUE(run_until(io_, [&] { return link_->status().phase == WorkerPhase::ready; })) << "dialled again";
  Sink& three = sink();
  const RequestId id = start(three);
  worker_->say(tokens(RequestId(1), 0, 1));  // of the life before
  worker_->say(tokens(id, 0, 1));
  ASSERT_TRUE(run_until(io_, [&] { return three.batches.size() == 1; }));
  EXPECT_EQ(one.batches.size() + two.batches.size(), 0U);
}

TEST_F(WorkerLinkTest, CancelStillFinishesAndAbandonIsSilent) {
  Sink &cancelled = sink(), &abandoned = sink();
  const RequestId a = start(cancelled), b = start(abandoned);
  link_->cancel(a);
  link_->abandon(b);
  link_->cancel(RequestId(99));
  link_->abandon(b);
  ASSERT_TRUE(heard(4));
  EXPECT_TRUE(worker_->heard[2] == Message(Cancel{a}));
  EXPECT_TRUE(worker_->heard[3] == Message(Cancel{b}));
  worker_->say(transport::Finish{b, FinishReason::cancelled});
  worker_->say(transport::Finish{a, FinishReason::cancelled});
  ASSERT_TRUE(run_until(io_, [&] { return cancelled.ends() == 1; }));
  EXPECT_EQ(abandoned.ends(), 0U);
  EXPECT_EQ(worker_->heard.size(), 4U);
}

TEST_F(WorkerLinkTest, BeyondTheLimitNothingIsSent) {
  for (int i = 0; i < 3; ++i) start(sink());
  Sink& fourth = sink();
  Generate request;
  request.prompt = {1};
  request.max_tokens = 1;
  auto refused = link_->generate(request, fourth);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, coordinator::Errc::unavailable);
  ASSERT_TRUE(heard(3));
  EXPECT_EQ(fourth.ends(), 0U);
}

TEST_F(WorkerLinkTest, AGapInTheTokensEndsTheGeneration) {
  Sink& cut = sink();
  const RequestId id = start(cut);
  worker_->say(tokens(id, 0, 2));
  worker_->say(tokens(id, 3, 1));
  ASSERT_TRUE(run_until(io_, [&] { return cut.ends() == 1; }));
  EXPECT_THAT(cut.losses.at(0), HasSubstr("token 3 where 2 was due"));
  ASSERT_TRUE(heard(2));
  EXPECT_TRUE(worker_->heard[1] == Message(Cancel{id}));
}

TEST_F(WorkerLinkTest, DestructionTellsOpenSinks) {
  Sink& open = sink();
  start(open);
  link_.reset();
  EXPECT_EQ(open.losses.size(), 1U);
}

}  // namespace
}  // namespace leadline::coordinator
