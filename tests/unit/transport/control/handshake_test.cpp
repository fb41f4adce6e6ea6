#include "transport/control/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/control/backoff.h"

namespace leadline::transport {
namespace {

using testing::HasSubstr;

Welcome described(std::string fingerprint = "fp") {
  Welcome welcome;
  welcome.model_fingerprint = std::move(fingerprint);
  return welcome;
}

TEST(Handshake, BothSidesProveTheSecret) {
  const Nonce worker = random_nonce();
  const Hello hello{kProtocolVersion, "fp", random_nonce()};
  auto welcome = answer_hello(hello, described(), "secret", worker);
  ASSERT_TRUE(welcome);
  auto confirm = answer_welcome(hello, *welcome, "secret");
  ASSERT_TRUE(confirm);
  EXPECT_TRUE(accept_confirm(*confirm, hello, worker, "secret"));
}

TEST(Handshake, AnotherSecretIsRefusedByEitherSide) {
  const Nonce worker = random_nonce();
  const Hello hello{kProtocolVersion, "", random_nonce()};
  auto welcome = answer_hello(hello, described(), "secret", worker);
  ASSERT_TRUE(welcome);
  EXPECT_EQ(answer_welcome(hello, *welcome, "Secret").error().code, Errc::refused);
  Confirm forged{prove("Secret", HandshakeRole::coordinator, hello.nonce, worker)};
  EXPECT_EQ(accept_confirm(forged, hello, worker, "secret").error().code, Errc::refused);
}

TEST(Handshake, ProofsCanNotBeReplayedOrReflected) {
  const Nonce worker = random_nonce();
  const Hello first{kProtocolVersion, "", random_nonce()}, second{kProtocolVersion, "", random_nonce()};
  EXPECT_NE(first.nonce, second.nonce);
  auto welcome = answer_hello(first, described(), "secret", worker);
  ASSERT_TRUE(welcome);
  EXPECT_FALSE(answer_welcome(second, *welcome, "secret")) << "a Welcome to another Hello";
  EXPECT_FALSE(accept_confirm(Confirm{welcome->mac}, first, worker, "secret"))
      << "the worker's own proof sent back";
}

TEST(Handshake, VersionAndFingerprintAreNamed) {
  const Hello newer{kProtocolVersion + 1, "", {}};
  EXPECT_THAT(answer_hello(newer, described(), "", {}).error().message,
              HasSubstr("protocol version " + std::to_string(kProtocolVersion + 1)));
  const Hello demanding{kProtocolVersion, "other", {}};
  EXPECT_THAT(answer_hello(demanding, described(), "", {}).error().message, HasSubstr("demanded other"));
  EXPECT_TRUE(answer_hello(demanding, described(""), "", {})) << "a worker that is still loading";
  Welcome old = described();
  old.protocol_version = 0;
  EXPECT_THAT(answer_welcome(Hello{}, old, "").error().message, HasSubstr("protocol version 0"));
}

TEST(Backoff, DoublesWithinItsLimitAndJitters) {
  using ms = std::chrono::milliseconds;
  EXPECT_EQ(backoff_pause(1, ms(100), ms(5000), 0.5), ms(100));
  EXPECT_EQ(backoff_pause(3, ms(100), ms(5000), 0.5), ms(400));
  EXPECT_EQ(backoff_pause(1000, ms(100), ms(5000), 0.5), ms(5000));
  EXPECT_EQ(backoff_pause(1000, ms(100), ms(5000), 0.0), ms(2500));
  EXPECT_LE(backoff_pause(1000, ms(100), ms(5000), 0.999), ms(7500));
}

TEST(Backoff, WhileNobodyListensItIsAShareOfTheWait) {
  using ms = std::chrono::milliseconds;
  EXPECT_EQ(refused_pause(ms(0), ms(5000), 0.5), ms(5));
  EXPECT_EQ(refused_pause(ms(1600), ms(5000), 0.5), ms(100));
  EXPECT_EQ(refused_pause(ms(1600), ms(5000), 0.0), ms(50));
  EXPECT_EQ(refused_pause(std::chrono::hours(24), ms(5000), 0.5), ms(5000));
  EXPECT_EQ(refused_pause(ms(0), ms(1), 0.5), ms(1)) << "a limit below the least pause";
}

}  // namespace
}  // namespace leadline::transport
