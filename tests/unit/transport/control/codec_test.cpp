#include "transport/control/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/unit/transport/control/sample_messages.h"
#include "transport/control/frame.h"

namespace leadline::transport {
namespace {

using testing::HasSubstr;
using tests::sample_generate;
using tests::sample_messages;
using Bytes = std::vector<std::byte>;

Bytes encoded(const Message& message) {
  Bytes out;
  auto done = encode(message, out);
  EXPECT_TRUE(done) << done.error().message;
  return out;
}
Result<Message> decoded(const Bytes& frame) {
  return decode(std::to_integer<std::uint8_t>(frame[3]), std::span(frame).subspan(kFrameHeadBytes));
}

TEST(Codec, EveryMessageRoundTrips) {
  for (const auto& [name, message] : sample_messages()) {
    auto back = decoded(encoded(message));
    ASSERT_TRUE(back) << name << ": " << back.error().message;
    EXPECT_TRUE(*back == message) << name;
  }
}

TEST(Codec, HowATokenWasDraftedTravels) {
  TokenBatch batch{RequestId(7), 0, {{11, -0.25F, {}, 4}, {12, -3.0F, {}, -6}, {13, -1.0F, {}, 0}}};
  const auto back = std::get<TokenBatch>(*decoded(encoded(batch)));
  ASSERT_EQ(back.tokens.size(), 3U);
  EXPECT_EQ(back.tokens[0].draft_layer, 4);
  EXPECT_EQ(back.tokens[1].draft_layer, -6);
  EXPECT_EQ(back.tokens[2].draft_layer, 0);
}

TEST(Codec, DefaultsRoundTrip) {
  Generate small;
  small.prompt = {0};
  small.max_tokens = 1;
  EXPECT_TRUE(*decoded(encoded(small)) == Message(small));
  EXPECT_TRUE(*decoded(encoded(Status{})) == Message(Status{}));
  EXPECT_TRUE(*decoded(encoded(Finish{})) == Message(Finish{}));
  EXPECT_TRUE(*decoded(encoded(TokenBatch{})) == Message(TokenBatch{}));
}

// A client chooses the trace id: bytes that are not UTF-8 must not cost anybody the link.
TEST(Codec, TextsAreBytes) {
  Generate m = sample_generate();
  m.trace_id = "\xFF\xC0\x80";
  auto back = decoded(encoded(m));
  ASSERT_TRUE(back);
  EXPECT_TRUE(*back == Message(m));
}

// The bytes on the wire are a contract between versions. LEADLINE_WRITE_GOLDEN=1 writes them anew: a protocol
// change.
TEST(Codec, GoldenBytes) {
  for (const auto& [name, message] : sample_messages()) {
    const std::string path = std::string(LEADLINE_SOURCE_DIR) + "/tests/golden/wire_frames/" + name + ".bin";
    const Bytes now = encoded(message);
    if (std::getenv("LEADLINE_WRITE_GOLDEN") != nullptr) {
      std::ofstream(path, std::ios::binary)
          .write(reinterpret_cast<const char*>(now.data()), static_cast<long>(now.size()));
    }
    std::ifstream in(path, std::ios::binary);
    ASSERT_TRUE(in) << path;
    std::vector<char> raw{std::istreambuf_iterator<char>(in), {}};
    const auto* begin = reinterpret_cast<const std::byte*>(raw.data());
    const Bytes golden(begin, begin + raw.size());
    EXPECT_EQ(now, golden) << name;
    auto back = decoded(golden);
    ASSERT_TRUE(back) << name;
    EXPECT_TRUE(*back == message) << name;
  }
}

Bytes body(std::initializer_list<int> raw) {
  Bytes bytes;
  for (int b : raw) bytes.push_back(static_cast<std::byte>(b));
  return bytes;
}

TEST(Codec, UnknownReasonsPhasesAndFieldsOfANewerPeer) {
  // Finish{request 7, reason 42} with a field 99; Status{phase 77}.
  auto finish = decode(11, body({0x08, 7, 0x10, 42, 0x98, 0x06, 1}));
  ASSERT_TRUE(finish);
  EXPECT_EQ(std::get<Finish>(*finish).reason, FinishReason::unknown);
  EXPECT_EQ(std::get<Finish>(*finish).request, RequestId(7));
  auto status = decode(12, body({0x08, 77}));
  ASSERT_TRUE(status);
  EXPECT_EQ(std::get<Status>(*status).phase, WorkerPhase::unknown);
}

TEST(Codec, AKvStoryIsBounded) {
  Finish finish;
  finish.kv.runs.assign(kMaxKvRuns, {KvSource::disk, 16});
  EXPECT_TRUE(*decoded(encoded(finish)) == Message(finish));
  finish.kv.runs.push_back({KvSource::memory, 16});
  Bytes out;
  EXPECT_EQ(encode(finish, out).error().code, Errc::too_large);
  // Finish{kv{runs{source 4}}} and Finish{kv{reads{}, reads{}}}
  EXPECT_EQ(decode(11, body({0x92, 1, 4, 0x0A, 2, 0x08, 4})).error().code, Errc::malformed);
  EXPECT_EQ(decode(11, body({0x92, 1, 4, 0x12, 0, 0x12, 0})).error().code, Errc::malformed);
}

TEST(Codec, RefusesTypesAndBodiesThatAreNotTheProtocols) {
  EXPECT_EQ(decode(0, {}).error().code, Errc::malformed);
  EXPECT_EQ(decode(13, {}).error().code, Errc::malformed);
  EXPECT_EQ(decode(255, {}).error().code, Errc::malformed);
  const Bytes garbage(40, std::byte{0xFF});
  for (std::uint8_t type = 1; type <= 12; ++type) {
    EXPECT_EQ(decode(type, garbage).error().code, Errc::malformed) << int(type);
  }
  EXPECT_THAT(decode(1, {}).error().message, HasSubstr("Hello.nonce"));
  EXPECT_THAT(decode(7, {}).error().message, HasSubstr("Generate.sampling"));
  EXPECT_EQ(decode(8, Bytes(40'000)).error().code, Errc::too_large);
}

struct BrokenGenerate {
  const char* names;  // what the error must name
  Errc code;
  void (*breaks)(Generate&);
};
class CodecRanges : public testing::TestWithParam<BrokenGenerate> {};

TEST_P(CodecRanges, AreKeptByTheSender) {
  Generate m = sample_generate();
  GetParam().breaks(m);
  Bytes out;
  auto refused = encode(m, out);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, GetParam().code);
  EXPECT_THAT(refused.error().message, HasSubstr(GetParam().names));
  EXPECT_TRUE(out.empty());
}

const float kNan = std::nanf(""), kInfinity = INFINITY;
const BrokenGenerate kBroken[] = {
    {"trace_id", Errc::too_large, [](Generate& m) { m.trace_id.assign(257, 'x'); }},
    {"Generate.prompt", Errc::malformed, [](Generate& m) { m.prompt.clear(); }},
    {"Generate.prompt", Errc::malformed, [](Generate& m) { m.prompt = {-1}; }},
    {"Generate.prompt", Errc::too_large,
     [](Generate& m) { m.prompt.assign(CodecLimits::kPromptTokens + 1, 1); }},
    {"Generate.generated", Errc::malformed,
     [](Generate& m) {
       m.generated = {1, -7};
     }},
    {"stop_token_ids", Errc::too_large, [](Generate& m) { m.stop_token_ids.assign(4'097, 1); }},
    {"max_tokens", Errc::malformed, [](Generate& m) { m.max_tokens = 0; }},
    {"banned_ids", Errc::malformed,
     [](Generate& m) {
       m.banned_ids = {3, -3};
     }},
    {"kv.compression", Errc::too_large, [](Generate& m) { m.kv.compression.assign(65, 'x'); }},
    {"kv.budget", Errc::malformed, [](Generate& m) { m.kv.budget = kNan; }},
    {"kv.budget", Errc::malformed, [](Generate& m) { m.kv.budget = 1.5F; }},
    {"kv.threshold", Errc::malformed, [](Generate& m) { m.kv.threshold = -1.5F; }},
    {"temperature", Errc::malformed, [](Generate& m) { m.sampling.temperature = kNan; }},
    {"temperature", Errc::malformed, [](Generate& m) { m.sampling.temperature = -0.1F; }},
    {"top_k", Errc::malformed, [](Generate& m) { m.sampling.top_k = -1; }},
    {"top_p", Errc::malformed, [](Generate& m) { m.sampling.top_p = 0; }},
    {"top_p", Errc::malformed, [](Generate& m) { m.sampling.top_p = kNan; }},
    {"min_p", Errc::malformed, [](Generate& m) { m.sampling.min_p = 1; }},
    {"repetition_penalty", Errc::malformed, [](Generate& m) { m.sampling.repetition_penalty = 0; }},
    {"presence_penalty", Errc::malformed, [](Generate& m) { m.sampling.presence_penalty = kInfinity; }},
    {"frequency_penalty", Errc::malformed, [](Generate& m) { m.sampling.frequency_penalty = kNan; }},
    {"logit_bias", Errc::malformed,
     [](Generate& m) {
       m.sampling.logit_bias = {{1, kNan}};
     }},
    {"logit_bias", Errc::malformed,
     [](Generate& m) {
       m.sampling.logit_bias = {{-4, 1.0F}};
     }},
    {"logit_bias", Errc::too_large,
     [](Generate& m) {
       m.sampling.logit_bias.assign(65'537, {1, 1.0F});
     }},
    {"top_logprobs", Errc::malformed, [](Generate& m) { m.sampling.top_logprobs = 21; }},
    {"top_logprobs", Errc::malformed, [](Generate& m) { m.sampling.top_logprobs = -2; }},
};
INSTANTIATE_TEST_SUITE_P(Fields, CodecRanges, testing::ValuesIn(kBroken));

TEST(Codec, TokenBatchLimits) {
  Bytes out;
  TokenBatch many{RequestId(1), 0, std::vector<SampledToken>(CodecLimits::kBatchTokens + 1)};
  EXPECT_EQ(encode(many, out).error().code, Errc::too_large);
  TokenBatch wide{RequestId(1), 0, {{1, 0, std::vector<TokenLogprob>(21)}}};
  EXPECT_EQ(encode(wide, out).error().code, Errc::too_large);
  TokenBatch overflow{RequestId(1), UINT32_MAX, {{1, 0, {}}}};
  EXPECT_EQ(encode(overflow, out).error().code, Errc::malformed);
  EXPECT_TRUE(out.empty());
  // The largest that the limits allow fits its frame.
  TokenBatch largest{RequestId(1), 0, std::vector<SampledToken>(CodecLimits::kBatchTokens)};
  for (SampledToken& token : largest.tokens) {
    token = {INT32_MAX, -1.0F, std::vector<TokenLogprob>(20, {INT32_MAX, -1.0F})};
  }
  EXPECT_TRUE(encode(largest, out));
  Generate big = sample_generate();
  big.prompt.assign(CodecLimits::kPromptTokens, INT32_MAX);
  big.generated = big.prompt;
  EXPECT_TRUE(encode(big, out));
}

}  // namespace
}  // namespace leadline::transport
