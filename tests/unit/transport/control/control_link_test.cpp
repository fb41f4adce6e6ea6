// ControlServer, ControlClient and Channel together, over real sockets on 127.0.0.1.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <thread>

#include "tests/unit/transport/control/sample_messages.h"
#include "transport/control/codec.h"
#include "transport/control/control_client.h"
#include "transport/control/control_server.h"
#include "transport/control/frame.h"
#include "transport/control/handshake.h"

namespace leadline::transport {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kPatience{5'000};  // for what must happen; only a failing test waits that long

class ControlLink : public testing::Test {
 protected:
  template <typename Condition>
  bool run_until(Condition condition, milliseconds limit = kPatience) {
    const auto deadline = Clock::now() + limit;
    while (!condition() && Clock::now() < deadline) {
      io_.restart();
      io_.run_one_for(milliseconds(10));
    }
    return condition();
  }

  void serve(ControlServerOptions options = {}) {
    ControlServerHandlers handlers;
    handlers.describe = [this] {
      Welcome welcome;
      welcome.model_fingerprint = fingerprint_;
      welcome.served_model_name = "tiny";
      return welcome;
    };
    handlers.on_channel = [this](std::shared_ptr<Channel> channel) {
      ++handed_out_;
      channel_ = std::move(channel);
      if (start_at_once_) start_worker();
    };
    auto server = ControlServer::open(io_, options, handlers);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  void start_worker() {
    channel_->start({[this](Message m) { at_worker_.push_back(std::move(m)); }, [this] { ++writable_; },
                     [this](Error why) { worker_closed_ = std::move(why); }});
  }

  void dial(ControlClientOptions options = {}) {
    if (options.address.empty()) options.address = "127.0.0.1:" + std::to_string(server_->port());
    options.backoff_first = milliseconds(20);
    options.backoff_limit = milliseconds(100);
    options.jitter_seed = 1;
    ControlClientHandlers handlers;
    handlers.on_connected = [this](const Welcome& welcome) {
      ++connects_;
      welcome_ = welcome;
    };
    handlers.on_message = [this](Message m) { at_coordinator_.push_back(std::move(m)); };
    handlers.on_disconnected = [this](const Error& why) { disconnects_.push_back(why); };
    handlers.on_attempt_failed = [this](const Error& why) { failures_.push_back(why); };
    auto client = ControlClient::open(io_, options, handlers);
    ASSERT_TRUE(client) << client.error().message;
    client_ = std::move(*client);
  }

  void link_up() {
    serve();
    dial();
    ASSERT_TRUE(run_until([&] { return connects_ == 1 && channel_ != nullptr; }));
  }

  tcp::socket raw_connection() {
    tcp::socket socket(io_);
    socket.connect({asio::ip::address_v4::loopback(), server_->port()});
    return socket;
  }

  asio::io_context io_;
  std::string fingerprint_ = "fp";
  bool start_at_once_ = true;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<ControlClient> client_;
  std::shared_ptr<Channel> channel_;  // the worker's end
  std::vector<Message> at_worker_, at_coordinator_;
  std::optional<Error> worker_closed_;
  std::vector<Error> disconnects_, failures_;
  Welcome welcome_;
  int connects_ = 0, handed_out_ = 0, writable_ = 0;
};

TokenBatch batch(std::uint64_t request, std::uint32_t index) {
  return {RequestId(request), index, {{1, 0, {}}}};
}

TEST_F(ControlLink, CarriesMessagesInOrderBothWays) {
  link_up();
  EXPECT_EQ(welcome_.served_model_name, "tiny");
  constexpr std::uint32_t kCount = 2'000;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(channel_->send(batch(1, i)), SendOutcome::queued);
    EXPECT_EQ(client_->send(Cancel{RequestId(i)}), SendOutcome::queued);
  }
  EXPECT_EQ(client_->send(tests::sample_generate()), SendOutcome::queued);
  ASSERT_TRUE(run_until([&] { return at_coordinator_.size() == kCount && at_worker_.size() == kCount + 1; }));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(std::get<TokenBatch>(at_coordinator_[i]).first_index, i);
    EXPECT_EQ(std::get<Cancel>(at_worker_[i]).request, RequestId(i));
  }
  EXPECT_TRUE(at_worker_.back() == Message(tests::sample_generate()));
}

TEST_F(ControlLink, SendsFromOtherThreadsKeepEachThreadsOrder) {
  link_up();
  std::vector<std::thread> threads;
  constexpr std::uint32_t kEach = 500;
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < kEach; ++i) channel_->send(batch(t, i));
    });
  }
  EXPECT_TRUE(run_until([&] { return at_coordinator_.size() == 3 * kEach; }));
  for (std::thread& thread : threads) thread.join();
  std::uint32_t next[3] = {0, 0, 0};
  for (const Message& message : at_coordinator_) {
    const auto& tokens = std::get<TokenBatch>(message);
    EXPECT_EQ(tokens.first_index, next[tokens.request.value]++);
  }
}

TEST_F(ControlLink, AnotherSecretGetsNothing) {
  ControlServerOptions server;
  server.secret = "right";
  serve(server);
  ControlClientOptions client;
  client.secret = "wrong";
  dial(client);
  ASSERT_TRUE(run_until([&] { return failures_.size() >= 2; }));
  EXPECT_EQ(failures_[0].code, Errc::refused);
  EXPECT_EQ(handed_out_, 0);
  client.secret = "right";
  dial(client);
  EXPECT_TRUE(run_until([&] { return handed_out_ == 1 && connects_ == 1; }));
}

TEST_F(ControlLink, AnotherModelIsRefusedByName) {
  serve();
  ControlClientOptions client;
  client.model_fingerprint = "another";
  dial(client);
  ASSERT_TRUE(run_until([&] { return !failures_.empty(); }));
  EXPECT_EQ(failures_[0].code, Errc::refused);
  EXPECT_THAT(failures_[0].message, HasSubstr("demanded another"));
}

TEST_F(ControlLink, BeyondLoopbackASecretIsRequired) {
  ControlServerOptions options;
  options.listen = "0.0.0.0:0";
  auto refused = ControlServer::open(io_, options, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::configuration);
  options.secret = "s";
  EXPECT_TRUE(ControlServer::open(io_, options, {}));
}

TEST_F(ControlLink, DialsAgainWhenTheWorkerComesBack) {
  link_up();
  const std::uint16_t port = server_->port();
  channel_->close("restart");
  server_.reset();
  ASSERT_TRUE(run_until([&] { return disconnects_.size() == 1 && failures_.size() >= 2; }));
  EXPECT_EQ(client_->send(Drain{}), SendOutcome::closed);
  ControlServerOptions options;
  options.listen = "127.0.0.1:" + std::to_string(port);
  serve(options);
  ASSERT_TRUE(run_until([&] { return connects_ == 2; }));
  EXPECT_EQ(disconnects_.size(), 1U);
}

// A peer that has proved itself and then says nothing, with the connection open: as when packets vanish.
TEST_F(ControlLink, ASilentPeerIsNoticedWithoutAReset) {
  tcp::acceptor acceptor(io_, {asio::ip::address_v4::loopback(), 0});
  std::thread silent([port = acceptor.local_endpoint().port(), &acceptor] {
    tcp::socket socket = acceptor.accept();
    std::vector<std::byte> bytes(4096);
    FrameParser parser(65'536);
    std::optional<Frame> frame;
    while (!frame) {
      error_code failure;
      std::span<const std::byte> input(bytes.data(), socket.read_some(asio::buffer(bytes), failure));
      if (failure) return;
      frame = *parser.take(input);
    }
    const auto hello = std::get<Hello>(*decode(frame->type, frame->body));
    std::vector<std::byte> answer;
    (void)encode(*answer_hello(hello, Welcome{}, "", random_nonce()), answer);
    asio::write(socket, asio::buffer(answer));
    error_code failure;
    while (!failure) socket.read_some(asio::buffer(bytes), failure);  // until the client gives up
  });
  ControlClientOptions options;
  options.address = "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
  options.channel.ping_period = milliseconds(50);
  options.channel.silence_limit = milliseconds(300);
  dial(options);
  EXPECT_TRUE(run_until([&] { return connects_ == 1; }));
  const auto up = Clock::now();
  EXPECT_TRUE(run_until([&] { return disconnects_.size() == 1; }));
  EXPECT_EQ(disconnects_.at(0).code, Errc::timeout);
  EXPECT_GE(Clock::now() - up, milliseconds(250));
  EXPECT_LE(Clock::now() - up, milliseconds(1'500));
  silent.join();
}

TEST_F(ControlLink, AnIdleLinkLives) {
  serve();
  ControlClientOptions options;
  options.channel.ping_period = milliseconds(30);
  options.channel.silence_limit = milliseconds(150);
  dial(options);
  ASSERT_TRUE(run_until([&] { return connects_ == 1; }));
  EXPECT_FALSE(run_until([&] { return !disconnects_.empty(); }, milliseconds(600)));
}

TEST_F(ControlLink, StrangersAreClosedAndOthersServed) {
  ControlServerOptions options;
  options.handshake_limit = milliseconds(200);
  serve(options);
  tcp::socket mute = raw_connection(), noisy = raw_connection(), early = raw_connection();
  asio::write(noisy, asio::buffer(std::string(5'000, 'G')));
  std::vector<std::byte> generate;
  ASSERT_TRUE(encode(tests::sample_generate(), generate));
  asio::write(early, asio::buffer(generate));  // a request before any handshake
  dial();
  ASSERT_TRUE(run_until([&] { return connects_ == 1; }));
  for (tcp::socket* socket : {&mute, &noisy, &early}) {
    socket->non_blocking(true);
    error_code failure;
    EXPECT_TRUE(run_until([&] {
      char bytes[256];
      failure = {};
      socket->read_some(asio::buffer(bytes), failure);
      return failure == asio::error::eof || failure == asio::error::connection_reset;
    }));
  }
  EXPECT_EQ(handed_out_, 1);
}

TEST_F(ControlLink, AtMostMaxConnections) {
  ControlServerOptions options;
  options.max_connections = 2;
  serve(options);
  tcp::socket first = raw_connection(), second = raw_connection();
  run_until([] { return false; }, milliseconds(50));
  dial();
  ASSERT_TRUE(run_until([&] { return !failures_.empty(); }));
  EXPECT_EQ(connects_, 0);
  first.close();
  EXPECT_TRUE(run_until([&] { return connects_ == 1; })) << "room again";
}

TEST_F(ControlLink, ASlowReaderPushesBack) {
  start_at_once_ = false;  // the worker's end is handed out and does not read yet
  serve();
  ControlClientOptions options;
  options.channel.send_high_water_bytes = 100'000;
  options.channel.send_limit_bytes = 40'000'000;
  options.channel.silence_limit = milliseconds(60'000);
  dial(options);
  ASSERT_TRUE(run_until([&] { return connects_ == 1 && channel_ != nullptr; }));
  Generate big = tests::sample_generate();
  big.prompt.assign(200'000, 1'000'000);
  int queued = 0;
  SendOutcome outcome{};
  bool above = false;
  do {
    outcome = client_->send(big);
    queued += outcome == SendOutcome::refused ? 0 : 1;
    above = above || outcome == SendOutcome::queued_above_high_water;
  } while (outcome != SendOutcome::refused && queued < 1'000);
  EXPECT_TRUE(above);
  EXPECT_EQ(outcome, SendOutcome::refused);
  EXPECT_LT(queued, 100);
  start_worker();
  EXPECT_TRUE(run_until([&] { return at_worker_.size() == static_cast<std::size_t>(queued); }))
      << at_worker_.size();
  EXPECT_EQ(client_->send(Cancel{}), SendOutcome::queued) << "room again";
}

TEST_F(ControlLink, WritableComesOnceTheQueueIsShort) {
  ControlServerOptions options;
  options.channel.send_high_water_bytes = 1'000;
  serve(options);
  dial();
  ASSERT_TRUE(run_until([&] { return connects_ == 1 && channel_ != nullptr; }));
  std::uint32_t sent = 0;
  while (channel_->send(batch(1, sent++)) != SendOutcome::queued_above_high_water) ASSERT_LT(sent, 10'000U);
  EXPECT_TRUE(run_until([&] { return writable_ == 1 && at_coordinator_.size() == sent; }));
  EXPECT_EQ(channel_->queued_bytes(), 0U);
}

TEST_F(ControlLink, CloseWhenSentLosesNothing) {
  link_up();
  for (std::uint32_t i = 0; i < 1'000; ++i) channel_->send(batch(1, i));
  channel_->close_when_sent();
  ASSERT_TRUE(run_until([&] { return disconnects_.size() == 1 && worker_closed_.has_value(); }));
  EXPECT_EQ(at_coordinator_.size(), 1'000U);
  EXPECT_EQ(worker_closed_->code, Errc::closed);
}

TEST_F(ControlLink, MessagesOfTheOtherDirectionEndTheLink) {
  link_up();
  channel_->send(tests::sample_generate());  // a worker asks a coordinator for tokens
  ASSERT_TRUE(run_until([&] { return disconnects_.size() == 1; }));
  EXPECT_EQ(disconnects_[0].code, Errc::malformed);
  EXPECT_TRUE(at_coordinator_.empty());
}

TEST_F(ControlLink, AClientThatGoesAwayIsSilent) {
  link_up();
  client_.reset();
  EXPECT_TRUE(run_until([&] { return worker_closed_.has_value(); }));
  EXPECT_TRUE(disconnects_.empty());
}

}  // namespace
}  // namespace leadline::transport
