#pragma once
// StoredChat: a chat of several turns against a whole worker, and the same chat computed fresh: what tests of
// the block store compare. Not a random generator. Thread: the test's.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/support/worker_harness.h"

namespace leadline::tests {

struct ChatCase {
  int number = 0;  // decides tokens, seed and temperature
  transport::KvWish kv;
  std::size_t first = 150, later = 37;  // new prompt tokens of the first turn and of the others
  int turns = 4;
};

// Each prompt is the one before, its answer, and something new.
struct Chat {
  std::vector<std::int32_t> history;
  std::vector<Answer> answers;
};

inline transport::Generate turn_of(const std::vector<std::int32_t>& history, const ChatCase& chat) {
  transport::Generate g;
  g.prompt = history;
  g.max_tokens = 20;
  g.ignore_eos = true;
  g.sampling.seed = 77 + static_cast<std::uint64_t>(chat.number);
  g.sampling.temperature = chat.number % 2 == 0 ? 0.0F : 0.8F;
  g.sampling.top_logprobs = 3;
  g.kv = chat.kv;
  return g;
}

// `between` runs after every turn: pushes the pages out, restarts, damages.
template <typename Between>
Chat run_chat(const ChatCase& chat, std::unique_ptr<WorkerHarness>& worker, const Between& between) {
  Chat c;
  for (int t = 0; t < chat.turns; ++t) {
    const auto more = sample_prompt(100 * chat.number + t, t == 0 ? chat.first : chat.later);
    c.history.insert(c.history.end(), more.begin(), more.end());
    c.answers.push_back(worker->run({turn_of(c.history, chat)}).front());
    for (const auto& token : c.answers.back().tokens) c.history.push_back(token.token);
    between();
  }
  return c;
}

// The same without a store or a prefix cache.
inline Chat fresh_chat(const ChatCase& chat, HarnessOptions options = {}) {
  options.prefix_cache = false;
  options.compression = !chat.kv.compression.empty();
  auto worker = std::make_unique<WorkerHarness>(options);
  return run_chat(chat, worker, [] {});
}

// Tokens, logprobs and reasons; who drafted a token is no part of the answer.
inline void expect_same(const Chat& got, const Chat& want) {
  ASSERT_EQ(got.answers.size(), want.answers.size());
  for (std::size_t i = 0; i < want.answers.size(); ++i) {
    SCOPED_TRACE("turn " + std::to_string(i));
    ASSERT_EQ(got.answers[i].finish.message, "");
    ASSERT_EQ(got.answers[i].tokens.size(), want.answers[i].tokens.size());
    for (std::size_t t = 0; t < want.answers[i].tokens.size(); ++t) {
      transport::SampledToken token = got.answers[i].tokens[t];
      token.draft_layer = want.answers[i].tokens[t].draft_layer;
      ASSERT_TRUE(token == want.answers[i].tokens[t]) << "token " << t;
    }
  }
}

struct Cached {
  std::uint32_t memory = 0, disk = 0, redis = 0;
};
inline Cached cached(const Chat& c) {
  Cached sum;
  for (const Answer& a : c.answers) {
    sum.memory += a.finish.kv.tokens_from(transport::KvSource::memory);
    sum.disk += a.finish.kv.tokens_from(transport::KvSource::disk);
    sum.redis += a.finish.kv.tokens_from(transport::KvSource::redis);
  }
  return sum;
}

// Another request that needs nearly all pages: the chat's leave the device.
inline void flush_device(WorkerHarness& worker, std::size_t tokens = 447) {
  static int number = 5000;
  transport::Generate g;
  g.prompt = sample_prompt(++number, tokens);
  g.max_tokens = 2;
  g.ignore_eos = true;
  g.kv.store = false;
  worker.run({g});
  worker.wait_stored();
}

}  // namespace leadline::tests
