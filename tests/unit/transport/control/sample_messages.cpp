#include "tests/unit/transport/control/sample_messages.h"

#include <limits>

namespace leadline::tests {

using namespace transport;

namespace {

std::array<std::uint8_t, 32> bytes_from(std::uint8_t first) {
  std::array<std::uint8_t, 32> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(first + i * 3);
  return bytes;
}

}  // namespace

Generate sample_generate() {
  Generate m;
  m.request = RequestId(7);
  m.session = SessionId(0xFEDCBA9876543210U);
  m.trace_id = "req-ä1";
  m.prompt = {0, 1, 127, 128, 4095, 2'000'000'000};
  m.generated = {5, 6};
  m.sampling = SamplingSpec{
      0.7F, 40, 0.95F, 0.05F, 1.1F, -0.5F, 0.25F, 0xFFFFFFFFFFFFFFFFU, {{3, -100.0F}, {9, 2.5F}}, 20};
  m.max_tokens = 128;
  m.min_tokens = 4;
  m.stop_token_ids = {2, 3};
  m.ignore_eos = true;
  m.priority = -5;
  m.deadline_ms = 60'000;
  m.tenant_salt = bytes_from(200);
  m.allowed_vocab = 4'090;
  m.banned_ids = {7, 4'000};
  m.speculation = SpeculationWish{SpeculationMode::learned, 9};
  m.kv = KvWish{"semanticache", 0.375F, 512, 0.75F, false, 3'600, 5};
  return m;
}

std::vector<std::pair<std::string, Message>> sample_messages() {
  std::vector<std::pair<std::string, Message>> all;
  all.emplace_back("hello", Hello{kProtocolVersion, "fp-1", bytes_from(1)});
  all.emplace_back("welcome", Welcome{kProtocolVersion, "fp-1", "tiny", 4096, 64, 2, 4096, 16, bytes_from(2),
                                      bytes_from(3)});
  all.emplace_back("confirm", Confirm{bytes_from(4)});
  all.emplace_back("refusal", Refusal{"protocol version 2, here 1"});
  all.emplace_back("ping", Ping{1});
  all.emplace_back("pong", Pong{std::numeric_limits<std::uint64_t>::max()});
  all.emplace_back("generate", sample_generate());
  all.emplace_back("cancel", Cancel{RequestId(7)});
  all.emplace_back("drain", Drain{});
  all.emplace_back(
      "token_batch",
      TokenBatch{RequestId(7), 2, {{11, -0.25F, {{11, -0.25F}, {12, -1.5F}}, 4}, {12, -3.0F, {}, -6}}});
  all.emplace_back(
      "finish",
      Finish{RequestId(7), FinishReason::stop, "", 2, 6, 4, 3, 1, 10, 20, 30, 5, 14, 8,
             KvStory{{{KvSource::device, 1}, {KvSource::redis, 3}}, {{{}, {}, {4096, 70}}}, 90, 80, 400, 5}});
  all.emplace_back("status",
                   Status{WorkerPhase::ready, 47'000'000, 47'000'000, 3, 2, 900, 17, 512, 123'456, 8});
  return all;
}

}  // namespace leadline::tests
