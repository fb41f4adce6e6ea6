#include "coordinator/http/sse_stream.h"

#include <gtest/gtest.h>

#include "tests/support/fake_exchange.h"

namespace leadline::coordinator {
namespace {

class SseStreamTest : public ::testing::Test {
 protected:
  std::shared_ptr<testing::FakeExchange> exchange = std::make_shared<testing::FakeExchange>("");
  SseStream stream{exchange, {{"x-a", "b"}}};
};

TEST_F(SseStreamTest, BeginsWithTheFirstEventAndEndsOnce) {
  EXPECT_EQ(exchange->answers, 0);
  EXPECT_TRUE(stream.event("{}", 0));
  EXPECT_EQ(exchange->header("x-a"), "b");
  stream.done();
  stream.done();
  stream.fail("{}");
  EXPECT_FALSE(stream.event("{}", 0));
  EXPECT_EQ(exchange->stream, "data: {}\n\ndata: [DONE]\n\n");
  EXPECT_EQ(exchange->answers, 1);
}

TEST_F(SseStreamTest, CommentsOnlyAfterSilence) {
  stream.event("1", 1000);
  stream.keep_alive(1900, 1000);
  EXPECT_EQ(exchange->stream, "data: 1\n\n");
  stream.keep_alive(2000, 1000);
  stream.keep_alive(2500, 1000);
  EXPECT_EQ(exchange->stream, "data: 1\n\n: keep-alive\n\n");
}

TEST_F(SseStreamTest, AnErrorEventEndsWithoutDone) {
  stream.event("1", 0);
  stream.fail("{\"error\":{}}");
  EXPECT_EQ(exchange->stream, "data: 1\n\ndata: {\"error\":{}}\n\n");
  EXPECT_TRUE(exchange->stream_ended);
}

TEST_F(SseStreamTest, AClientThatLeftIsSeen) {
  exchange->gone = true;
  EXPECT_FALSE(stream.event("1", 0));
}

}  // namespace
}  // namespace leadline::coordinator
