#pragma once
// Requests that differ in everything, and the comparison that exactness tests make: == on tokens, logprobs
// and reasons. Not a random generator. Thread: the test's.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/worker_harness.h"

namespace leadline::tests {

// Sixteen requests that differ in everything: lengths around page and chunk borders, greedy and sampled,
// filters, penalties, bias.
inline std::vector<transport::Generate> mixed_requests() {
  const std::size_t lengths[] = {1, 2, 15, 16, 17, 31, 33, 64, 65, 97, 128, 130, 200, 257, 300, 48};
  std::vector<transport::Generate> requests;
  for (int i = 0; i < 16; ++i) {
    transport::Generate g;
    g.prompt = sample_prompt(i, lengths[i]);
    g.max_tokens = 12 + static_cast<std::uint32_t>(i % 5) * 4;
    g.ignore_eos = i % 3 != 0;
    g.sampling.seed = 1000 + static_cast<std::uint64_t>(i);
    g.sampling.top_logprobs = i % 4;
    g.sampling.temperature = i % 4 == 0 ? 0.0F : 0.4F + 0.2F * static_cast<float>(i % 5);
    if (i % 5 == 1) g.sampling.top_k = 20;
    if (i % 5 == 2) g.sampling.top_p = 0.9F;
    if (i % 5 == 3) g.sampling.min_p = 0.05F;
    if (i % 2 == 1) g.sampling.repetition_penalty = 1.2F;
    if (i % 3 == 1) g.sampling.presence_penalty = 0.5F;
    if (i % 3 == 2) g.sampling.frequency_penalty = 0.3F;
    if (i == 6) g.sampling.logit_bias = {{100, 4.0F}, {101, -100.0F}};
    if (i == 9) g.min_tokens = 8;
    requests.push_back(std::move(g));
  }
  return requests;
}

// What the reference model was trained on goes on predictably, so drafts stand; random ids hardly ever do.
inline std::vector<transport::Generate> predictable_requests() {
  std::vector<transport::Generate> requests = mixed_requests();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    transport::Generate& g = requests[i];
    std::vector<std::int32_t> phrase = sample_prompt(static_cast<int>(i) + 50, 3 + i % 5);
    const std::size_t wanted = g.prompt.size();
    g.prompt.clear();
    while (g.prompt.size() < std::max<std::size_t>(wanted, 24))
      g.prompt.insert(g.prompt.end(), phrase.begin(), phrase.end());
    g.max_tokens += 12;
    if (i % 2 == 0) g.sampling.temperature = 0;
    if (i % 4 == 0) g.sampling.repetition_penalty = 1;
    if (i % 4 == 0) g.sampling.presence_penalty = g.sampling.frequency_penalty = 0;
  }
  return requests;
}

inline std::vector<transport::Generate> all_requests() {
  std::vector<transport::Generate> requests = mixed_requests();
  for (transport::Generate& g : predictable_requests()) requests.push_back(std::move(g));
  return requests;
}

inline void expect_same(const std::vector<Answer>& got, const std::vector<Answer>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    EXPECT_EQ(got[i].finish.reason, want[i].finish.reason);
    ASSERT_EQ(got[i].tokens.size(), want[i].tokens.size());
    for (std::size_t t = 0; t < want[i].tokens.size(); ++t)
      ASSERT_TRUE(got[i].tokens[t] == want[i].tokens[t])
          << "token " << t << ": " << got[i].tokens[t].token << " " << got[i].tokens[t].logprob
          << " instead of " << want[i].tokens[t].token << " " << want[i].tokens[t].logprob;
  }
}

// Each request in two halves: the second goes on from the tokens that the first gave (failover).
inline std::vector<Answer> continued_at_half(WorkerHarness& worker, std::vector<transport::Generate> requests,
                                             const std::vector<Answer>& whole) {
  std::vector<Answer> joined;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::vector<transport::SampledToken>& want = whole[i].tokens;
    const std::size_t made = want.size() / 2;
    for (std::size_t t = 0; t < made; ++t) requests[i].generated.push_back(want[t].token);
    Answer answer = worker.run({requests[i]}).front();
    EXPECT_EQ(answer.finish.generated_tokens, want.size() - made);
    answer.tokens.insert(answer.tokens.begin(), want.begin(),
                         want.begin() + static_cast<std::ptrdiff_t>(made));
    joined.push_back(std::move(answer));
  }
  return joined;
}

}  // namespace leadline::tests
