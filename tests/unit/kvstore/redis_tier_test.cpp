// The Redis tier against real servers: killed, hung, full, with a wrong password, restarted empty, with
// damage, behind TLS, an ACL user and a sentinel. (The laws of every tier: tests/conformance/kvstore.)
#include "kvstore/redis_tier.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/redis_server.h"
#include "tests/support/sample_block.h"

namespace leadline::kvstore {
namespace {

using Clock = std::chrono::steady_clock;
using tests::RedisServer;
using tests::sample_block;

#define NEED_SERVER(server, ...)                \
  auto server = RedisServer::make(__VA_ARGS__); \
  if (server == nullptr) GTEST_SKIP() << "no redis-server here: apt-get install redis-server"

TierDeadline soon() {
  return Clock::now() + std::chrono::seconds(5);
}

std::unique_ptr<RedisTier> tier_at(const std::string& url) {
  RedisTierOptions options;
  auto parsed = parse_redis_url(url);
  EXPECT_TRUE(parsed) << parsed.error().message;
  options.link.url = *parsed;
  options.link.io_limit = std::chrono::milliseconds(200);
  options.link.connect_limit = std::chrono::milliseconds(1'000);
  options.link.first_pause = std::chrono::milliseconds(20);
  options.link.longest_pause = std::chrono::milliseconds(100);
  options.retry = std::chrono::milliseconds(50);
  return std::make_unique<RedisTier>(std::move(options));
}

GetOutcome get(Tier& tier, const BlockPtr& block) {
  TierRead read;
  tier.get({&block->header().id, 1}, {&read, 1}, soon());
  return read.outcome;
}

// Until the tier answers `want` for the block; false after 10 s.
bool comes_to(Tier& tier, const BlockPtr& block, GetOutcome want) {
  const auto until = Clock::now() + std::chrono::seconds(10);
  while (Clock::now() < until) {
    if (get(tier, block) == want) return true;
    ::usleep(1'000);
  }
  return false;
}

TEST(RedisUrl, Table) {
  const auto url = [](std::string_view text) { return parse_redis_url(text).value(); };
  EXPECT_EQ(url("redis://h").addresses, (std::vector<RedisAddress>{{"h", 6379}}));
  EXPECT_EQ(url("rediss://u:p%40%3A@h:7/3"), (RedisUrl{true, "u", "p@:", {{"h", 7}}, "", 3, ""}));
  EXPECT_EQ(url("redis://:p@[::1]:7").addresses[0], (RedisAddress{"::1", 7}));
  EXPECT_EQ(url("redis://:p@h").user, "");
  EXPECT_EQ(url("redis+sentinel://a,b:1/mymaster/2"),
            (RedisUrl{false, "", "", {{"a", 26379}, {"b", 1}}, "mymaster", 2, ""}));
  EXPECT_EQ(url("rediss://h?ca=/etc/ca.pem").ca_file, "/etc/ca.pem");
  EXPECT_EQ(url("rediss://u:secret@h:7/3").shown(), "rediss://u:***@h:7/3");
  for (const char* wrong :
       {"", "http://h", "redis://", "redis://h:0", "redis://h:99999", "redis://h/x", "redis://a,b",
        "redis://u%4@h", "redis+sentinel://a", "redis://h?x=1", "redis://h/-1", "redis://[::1"})
    EXPECT_FALSE(parse_redis_url(wrong)) << wrong;
  EXPECT_EQ(parse_redis_url("redis://u:geheim@h/x").error().message.find("geheim"), std::string::npos);
}

TEST(RedisTier, KilledIsAStateAndBackAgainItIsEmpty) {
  NEED_SERVER(server);
  auto tier = tier_at(server->url());
  ASSERT_EQ(tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
  ASSERT_EQ(get(*tier, sample_block(1, 0)), GetOutcome::hit);
  server->stop();
  EXPECT_EQ(get(*tier, sample_block(1, 0)), GetOutcome::unavailable);
  EXPECT_EQ(tier->state(), TierState::down);
  EXPECT_NE(tier->why(), "");
  EXPECT_EQ(tier->put(sample_block(1, 1), soon()), PutOutcome::unavailable);
  server->start();
  EXPECT_TRUE(comes_to(*tier, sample_block(1, 0), GetOutcome::miss)) << tier->why();
  (void)tier->put(sample_block(1, 1), soon());
  const auto until = soon();
  while (tier->put(sample_block(1, 1), soon()) == PutOutcome::unavailable && Clock::now() < until)
    ::usleep(1'000);
  EXPECT_EQ(get(*tier, sample_block(1, 1)), GetOutcome::hit);
  EXPECT_EQ(tier->state(), TierState::ok);
}

TEST(RedisTier, HungCostsOneDeadlineThenNothing) {
  NEED_SERVER(server);
  auto tier = tier_at(server->url());
  ASSERT_EQ(tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
  ASSERT_EQ(get(*tier, sample_block(1, 0)), GetOutcome::hit);
  server->signal(SIGSTOP);
  auto start = Clock::now();
  EXPECT_EQ(get(*tier, sample_block(1, 0)), GetOutcome::unavailable);
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(1'000));
  start = Clock::now();
  EXPECT_EQ(get(*tier, sample_block(1, 0)), GetOutcome::unavailable);
  EXPECT_EQ(tier->state(), TierState::down);
  server->signal(SIGCONT);
  EXPECT_TRUE(comes_to(*tier, sample_block(1, 0), GetOutcome::hit)) << tier->why();
}

TEST(RedisTier, FullEndsStoresNotReads) {
  NEED_SERVER(server, {"--maxmemory", "3mb", "--maxmemory-policy", "noeviction"});
  auto tier = tier_at(server->url());
  PutOutcome outcome = PutOutcome::stored;
  for (int i = 0; i < 100 && outcome == PutOutcome::stored; ++i)
    outcome = tier->put(sample_block(i, 0, 0, 100'000), soon());
  EXPECT_EQ(outcome, PutOutcome::full);
  EXPECT_EQ(tier->state(), TierState::read_only);
  EXPECT_EQ(get(*tier, sample_block(0, 0, 0, 100'000)), GetOutcome::hit);
}

TEST(RedisTier, WrongPasswordAndRightOnes) {
  NEED_SERVER(server, {"--requirepass", "richtig"});
  RedisLink admin({.url = parse_redis_url(server->url(":richtig@")).value()});
  const RedisLink::Words grant[] = {
      {"ACL", "SETUSER", "leadline", "on", ">geheim", "~leadline:kv:*", "+@read", "+@write", "+ping"}};
  ASSERT_EQ(admin.exchange(grant, soon()).value().front().text, "OK");
  for (const std::string login : {":falsch@", "leadline:falsch@", ""}) {
    auto wrong = tier_at(server->url(login));
    EXPECT_EQ(get(*wrong, sample_block(1, 0)), GetOutcome::unavailable);
    EXPECT_EQ(wrong->state(), TierState::down);
    EXPECT_EQ(wrong->why().find("falsch"), std::string::npos);
  }
  for (const std::string login : {":richtig@", "leadline:geheim@"}) {
    auto right = tier_at(server->url(login));
    EXPECT_NE(right->put(sample_block(1, 0), soon()), PutOutcome::unavailable) << right->why();
    EXPECT_EQ(get(*right, sample_block(1, 0)), GetOutcome::hit);
  }
}

TEST(RedisTier, DamageIsAMissAndIsErased) {
  NEED_SERVER(server);
  auto tier = tier_at(server->url());
  RedisLink other({.url = parse_redis_url(server->url()).value()});
  const BlockPtr block = sample_block(1, 0), foreign = sample_block(2, 0);
  const std::string key = redis_key(block->header().id);
  const std::string bytes(reinterpret_cast<const char*>(block->bytes().data()), block->bytes().size());
  std::string flipped = bytes;
  flipped[300] ^= 4;
  const std::string another(reinterpret_cast<const char*>(foreign->bytes().data()), foreign->bytes().size());
  for (const std::string& value : {flipped, bytes.substr(0, 500), std::string(), another}) {
    const RedisLink::Words set[] = {{"SET", key, value}};
    ASSERT_TRUE(other.exchange(set, soon()));
    EXPECT_EQ(get(*tier, block), GetOutcome::corrupt);
    EXPECT_EQ(get(*tier, block), GetOutcome::miss);
  }
  const RedisLink::Words list[] = {{"LPUSH", key, "x"}};  // not even a string
  ASSERT_TRUE(other.exchange(list, soon()));
  EXPECT_NE(get(*tier, block), GetOutcome::hit);
}

TEST(RedisTier, ABlockHasATimeToLive) {
  NEED_SERVER(server);
  auto tier = tier_at(server->url());
  RedisLink other({.url = parse_redis_url(server->url()).value()});
  const BlockPtr plain = sample_block(1, 0), mortal = sample_block(1, 1, 0, 100, unix_now_s() + 1'000);
  ASSERT_EQ(tier->put(plain, soon()), PutOutcome::stored);
  ASSERT_EQ(tier->put(mortal, soon()), PutOutcome::stored);
  const std::string keys[] = {redis_key(plain->header().id), redis_key(mortal->header().id)};
  const RedisLink::Words ask[] = {{"TTL", keys[0]}, {"TTL", keys[1]}};
  auto ttl = other.exchange(ask, soon());
  ASSERT_TRUE(ttl);
  EXPECT_NEAR(static_cast<double>((*ttl)[0].integer), 7 * 24 * 3600, 10);
  EXPECT_NEAR(static_cast<double>((*ttl)[1].integer), 1'000, 10);
}

TEST(RedisTier, OverTls) {
  const tests::ScratchDirectory d;
  const std::string certificate = d.path() + "/cert.pem", key = d.path() + "/key.pem";
  const std::string make =
      "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
      "subjectAltName=IP:127.0.0.1 -keyout " +
      key + " -out " + certificate + " 2>/dev/null";
  if (std::system(make.c_str()) != 0) GTEST_SKIP() << "no openssl command";
  NEED_SERVER(server,
              {"--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate,
               "--tls-auth-clients", "no"},
              true);
  const std::string url = "rediss://127.0.0.1:" + std::to_string(server->port());
  auto tier = tier_at(url + "?ca=" + certificate);
  ASSERT_EQ(tier->put(sample_block(1, 0, 0, 300'000), soon()), PutOutcome::stored) << tier->why();
  EXPECT_EQ(get(*tier, sample_block(1, 0)), GetOutcome::hit);
  auto untrusting = tier_at(url);  // the system does not know this authority
  EXPECT_EQ(get(*untrusting, sample_block(1, 0)), GetOutcome::unavailable);
  EXPECT_NE(untrusting->why().find("certificate"), std::string::npos) << untrusting->why();
  auto plain = tier_at(server->url());
  EXPECT_EQ(get(*plain, sample_block(1, 0)), GetOutcome::unavailable);
}

TEST(RedisTier, ThroughASentinel) {
  NEED_SERVER(server);
  const tests::ScratchDirectory d;
  const std::uint16_t port = tests::free_port();
  const std::string file = d.path() + "/sentinel.conf";
  std::ofstream(file) << "port " << port << "\nbind 127.0.0.1\ndir " << d.path()
                      << "\nlogfile log\nsentinel monitor blocks 127.0.0.1 " << server->port() << " 1\n";
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execl("/usr/bin/redis-server", "redis-server", file.c_str(), "--sentinel", nullptr);
    ::_exit(127);
  }
  const std::string sentinels = "127.0.0.1:1,127.0.0.1:" + std::to_string(port);  // the first is not there
  auto tier = tier_at("redis+sentinel://" + sentinels + "/blocks");
  EXPECT_TRUE(comes_to(*tier, sample_block(1, 0), GetOutcome::miss)) << tier->why();
  EXPECT_EQ(tier->put(sample_block(1, 0), soon()), PutOutcome::stored) << tier->why();
  EXPECT_EQ(get(*tier, sample_block(1, 0)), GetOutcome::hit);
  auto stranger = tier_at("redis+sentinel://" + sentinels + "/other");
  EXPECT_EQ(get(*stranger, sample_block(1, 0)), GetOutcome::unavailable);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

TEST(RespReader, PiecesDoNotMatterAndLimitsHold) {
  const std::string stream = "+OK\r\n$3\r\nabc\r\n:42\r\n$-1\r\n-ERR no\r\n*2\r\n$1\r\na\r\n*1\r\n:7\r\n";
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    RespReader reader;
    std::vector<RespReply> replies;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.feed(std::as_bytes(std::span(stream)).subspan(at, std::min(piece, stream.size() - at)));
      while (auto reply = reader.take()) replies.push_back(std::move(*reply));
    }
    ASSERT_EQ(replies.size(), 6U) << piece;
    EXPECT_EQ(replies[1].text, "abc");
    EXPECT_EQ(replies[2].integer, 42);
    EXPECT_EQ(replies[3].kind, RespReply::Kind::nil);
    EXPECT_EQ(replies[5].elements[1].elements[0].integer, 7);
  }
  RespReader many;
  const std::string claim = "*1000000000\r\n";
  many.feed(std::as_bytes(std::span(claim)));
  EXPECT_FALSE(many.take());
  EXPECT_TRUE(many.failed());
  RespReader endless;  // a bulk string that never ends
  const std::string head = "$500000000\r\n";
  endless.feed(std::as_bytes(std::span(head)));
  const std::vector<std::byte> filler(1 << 20);
  for (int i = 0; i < 70 && !endless.failed(); ++i) {
    endless.feed(filler);
    EXPECT_FALSE(endless.take());
  }
  EXPECT_TRUE(endless.failed());
}

}  // namespace
}  // namespace leadline::kvstore
