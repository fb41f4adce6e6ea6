#include "coordinator/generation.h"

#include <gtest/gtest.h>

#include "tests/support/fake_tokenizer.h"

namespace leadline::coordinator {
namespace {

using transport::FinishReason;

class GenerationTest : public ::testing::Test {
 protected:
  Generation make(std::vector<std::string> stops = {}, std::uint32_t max_tokens = 100) {
    GenerationSpec spec;
    spec.request.prompt = {1, 2, 3};
    spec.request.max_tokens = max_tokens;
    spec.request.sampling.seed = 42;
    spec.stops = std::move(stops);
    return Generation(std::move(spec), tokenizer);
  }
  static transport::TokenBatch batch(std::uint32_t first, std::string_view text) {
    transport::TokenBatch b;
    b.first_index = first;
    for (const char c : text) b.tokens.push_back({static_cast<unsigned char>(c), 0, {}});
    return b;
  }
  static transport::Finish finish(FinishReason reason) {
    transport::Finish f;
    f.reason = reason;
    f.cached_tokens = 2;
    return f;
  }
  testing::FakeTokenizer tokenizer;
};

TEST_F(GenerationTest, PlainAnswer) {
  Generation g = make();
  EXPECT_EQ(g.state(), GenerationState::queued);
  EXPECT_TRUE(g.place(0).generated.empty());
  EXPECT_EQ(g.on_tokens(batch(0, "ab")).delta.text, "ab");
  EXPECT_EQ(g.state(), GenerationState::streaming);
  EXPECT_EQ(g.on_finish(finish(FinishReason::stop), 4).next, Generation::Next::ended);
  EXPECT_EQ(g.state(), GenerationState::done);
  EXPECT_EQ(g.result().outcome, Outcome::stop);
  EXPECT_EQ(g.result().generated_tokens, 2u);
  EXPECT_EQ(g.result().cached_tokens, 2u);
}

TEST_F(GenerationTest, RepeatedTokensAreDroppedAndGapsAreFaults) {
  Generation g = make();
  g.place(0);
  g.on_tokens(batch(0, "abc"));
  const auto overlap = g.on_tokens(batch(1, "bcd"));
  EXPECT_EQ(overlap.delta.text, "d");
  EXPECT_EQ(overlap.delta.tokens.size(), 1u);
  EXPECT_TRUE(g.on_tokens(batch(5, "x")).protocol_fault);
  EXPECT_EQ(g.tokens().size(), 4u);
}

TEST_F(GenerationTest, MoreTokensThanAskedForIsAFault) {
  Generation g = make({}, 2);
  g.place(0);
  EXPECT_TRUE(g.on_tokens(batch(0, "abc")).protocol_fault);
  EXPECT_EQ(g.tokens().size(), 2u);
}

TEST_F(GenerationTest, StopStringCutsTextAndTokens) {
  Generation g = make({"XY"});
  g.place(0);
  EXPECT_EQ(g.on_tokens(batch(0, "abX")).delta.text, "ab");
  const auto progress = g.on_tokens(batch(3, "Yzz"));
  EXPECT_TRUE(progress.stop_met);
  EXPECT_EQ(progress.delta.text, "");
  EXPECT_EQ(g.state(), GenerationState::stopping);
  EXPECT_TRUE(g.on_tokens(batch(6, "more")).delta.tokens.empty());
  EXPECT_EQ(g.on_finish(finish(FinishReason::cancelled), 4).next, Generation::Next::ended);
  EXPECT_EQ(g.result().outcome, Outcome::stop);
  EXPECT_EQ(g.result().stop_string, 0u);
  EXPECT_EQ(g.result().generated_tokens, 4u);
}

TEST_F(GenerationTest, HeldBackTextComesAtTheEnd) {
  Generation g = make({"XY"});
  g.place(0);
  EXPECT_EQ(g.on_tokens(batch(0, "abX")).delta.text, "ab");
  EXPECT_EQ(g.on_finish(finish(FinishReason::length), 4).tail, "X");
  EXPECT_EQ(g.result().outcome, Outcome::length);
}

TEST_F(GenerationTest, ContinuationCarriesTokensOnceAndOnly) {
  Generation g = make({"XY"});
  g.place(0);
  g.on_tokens(batch(0, "abX"));
  EXPECT_EQ(g.on_link_lost(true, 4).next, Generation::Next::requeue);
  const transport::Generate again = g.place(7);
  EXPECT_EQ(again.generated, (std::vector<transport::TokenId>{'a', 'b', 'X'}));
  EXPECT_EQ(again.sampling.seed, 42u);
  EXPECT_EQ(again.deadline_ms, 7u);
  EXPECT_TRUE(g.on_tokens(batch(3, "Y")).stop_met);  // the stop string straddles the two workers
  Generation second = make();
  second.place(0);
  second.on_tokens(batch(0, "a"));
  EXPECT_EQ(second.on_link_lost(true, 4).next, Generation::Next::requeue);
  second.place(0);
  EXPECT_EQ(second.on_link_lost(true, 4).next, Generation::Next::fail);  // once
  EXPECT_EQ(second.result().error.code, Errc::unavailable);
}

TEST_F(GenerationTest, LostWorker) {
  Generation nothing_streamed = make();
  nothing_streamed.place(0);
  EXPECT_EQ(nothing_streamed.on_link_lost(false, 4).next,
            Generation::Next::requeue);  // it waits for any worker
  Generation no_other = make();
  no_other.place(0);
  no_other.on_tokens(batch(0, "a"));
  EXPECT_EQ(no_other.on_link_lost(false, 4).next, Generation::Next::fail);
  Generation complete = make({}, 2);
  complete.place(0);
  complete.on_tokens(batch(0, "ab"));
  EXPECT_EQ(complete.on_link_lost(false, 4).next, Generation::Next::ended);  // only the Finish was lost
  EXPECT_EQ(complete.result().outcome, Outcome::length);
  Generation stopped = make({"b"});
  stopped.place(0);
  stopped.on_tokens(batch(0, "ab"));
  EXPECT_EQ(stopped.on_link_lost(false, 4).next, Generation::Next::ended);
  EXPECT_EQ(stopped.result().outcome, Outcome::stop);
}

TEST_F(GenerationTest, FinishReasons) {
  const struct {
    FinishReason reason;
    Generation::Next next;
    Outcome outcome;
    Errc code;
  } cases[] = {
      {FinishReason::stop, Generation::Next::ended, Outcome::stop, Errc::unknown},
      {FinishReason::length, Generation::Next::ended, Outcome::length, Errc::unknown},
      {FinishReason::deadline, Generation::Next::fail, Outcome::deadline, Errc::request_timeout},
      {FinishReason::invalid, Generation::Next::fail, Outcome::invalid, Errc::invalid_request},
      {FinishReason::failed, Generation::Next::fail, Outcome::failed, Errc::internal},
      {FinishReason::cancelled, Generation::Next::fail, Outcome::failed, Errc::internal},
      {FinishReason::unknown, Generation::Next::fail, Outcome::failed, Errc::internal},
  };
  for (const auto& c : cases) {
    Generation g = make();
    g.place(0);
    EXPECT_EQ(g.on_finish(finish(c.reason), 4).next, c.next);
    EXPECT_EQ(g.result().outcome, c.outcome);
    EXPECT_EQ(g.result().error.code, c.code);
  }
}

TEST_F(GenerationTest, HandedBackUntilTheLimit) {
  Generation g = make();
  for (int i = 1; i < 3; ++i) {
    g.place(0);
    EXPECT_EQ(g.on_finish(finish(FinishReason::overloaded), 3).next, Generation::Next::requeue) << i;
  }
  g.place(0);
  EXPECT_EQ(g.on_finish(finish(FinishReason::overloaded), 3).next, Generation::Next::fail);
}

TEST_F(GenerationTest, CancelEndsOnceAndForGood) {
  Generation g = make();
  g.place(0);
  g.cancel();
  EXPECT_EQ(g.state(), GenerationState::cancelled);
  EXPECT_TRUE(g.on_tokens(batch(0, "a")).delta.tokens.empty());
  g.on_finish(finish(FinishReason::stop), 4);
  EXPECT_EQ(g.result().outcome, Outcome::cancelled);
}

}  // namespace
}  // namespace leadline::coordinator
