// Collectives and bytes per token: plain decoding, drafting on all ranks, drafting on rank 0 alone, on 2 and
// 4 ranks; and the time that a delay per collective adds. Four ranks on few cores time the machine's
// scheduler, so time is modelled: tokens/s = 1 / (compute + collectives * delay), compute measured on one
// rank (kept for all layouts: it flatters none, and a real group divides it by its ranks). A run with a real
// delay checks the model. Prompts: tests/golden/reference_answers.jsonl, greedy, one at a time.

#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "policy/fixed_policy.h"
#include "tests/support/metered_communicator.h"
#include "tests/support/worker_harness.h"

namespace {

using namespace leadline;
using namespace leadline::tests;

constexpr int kPrompts = 40;

std::vector<transport::Generate> prompts() {
  std::ifstream file(std::string(LEADLINE_SOURCE_DIR) + "/tests/golden/reference_answers.jsonl");
  std::vector<transport::Generate> out;
  std::string line;
  while (static_cast<int>(out.size()) < kPrompts && std::getline(file, line)) {
    const auto row = nlohmann::json::parse(line);
    transport::Generate g;
    g.prompt = row["prompt_tokens"].get<std::vector<std::int32_t>>();
    g.max_tokens = 64;
    g.sampling.temperature = 0;
    out.push_back(std::move(g));
  }
  return out;
}

struct Layout {
  const char* name;
  int ranks, draft_ranks;
  std::shared_ptr<const policy::ExitPolicy> policy;
};

struct Measured {
  double tokens = 0, seconds = 0, collectives = 0, bytes = 0, plans = 0, accepted = 0, drafted = 0;
  std::uint64_t hash = 1469598103934665603ULL;
};

Measured measure(const Layout& layout, std::chrono::microseconds delay) {
  auto meter = std::make_shared<CollectiveMeter>();
  HarnessOptions options;
  options.ranks = layout.ranks;
  options.draft_ranks = layout.draft_ranks;
  options.policy = layout.policy;
  options.prefix_cache = false;
  bool first = true;  // rank 0 counts
  options.wrap = [&](std::unique_ptr<transport::Communicator> rank) {
    auto mine = first ? meter : std::make_shared<CollectiveMeter>();
    const auto wait = first ? delay : std::chrono::microseconds(0);  // the others wait for rank 0
    first = false;
    return metered(std::move(rank), mine, wait);
  };
  WorkerHarness worker(options);
  Measured m;
  // What a prompt costs until its first token is not what is measured: it is run alone first, and taken away.
  const auto run = [&](transport::Generate g, double sign) {
    const std::uint64_t collectives = meter->collectives, bytes = meter->bytes, plans = meter->plans;
    const auto start = std::chrono::steady_clock::now();
    const Answer answer = worker.run({std::move(g)}).front();
    m.seconds += sign * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    m.collectives += sign * static_cast<double>(meter->collectives - collectives);
    m.bytes += sign * static_cast<double>(meter->bytes - bytes);
    m.plans += sign * static_cast<double>(meter->plans - plans);
    m.tokens += sign * static_cast<double>(answer.tokens.size());
    return answer;
  };
  for (transport::Generate& g : prompts()) {
    transport::Generate first_only = g;
    first_only.max_tokens = 1;
    (void)run(std::move(first_only), -1);
    const Answer answer = run(std::move(g), 1);
    m.drafted += answer.finish.drafted_tokens;
    m.accepted += answer.finish.accepted_tokens;
    for (const auto& token : answer.tokens)
      m.hash = (m.hash ^ static_cast<std::uint64_t>(token.token)) * 1099511628211ULL;
  }
  return m;
}

}  // namespace

int main() {
  const auto drafts = [] { return policy::make_static_policy(6, 4); };
  const Layout one_plain{"1 rank, plain", 1, 0, nullptr}, one_drafts{"1 rank, drafts", 1, 0, drafts()};
  const Measured plain = measure(one_plain, {}), drafted = measure(one_drafts, {});
  std::printf("static:6,4 on models/reference, %d prompts, greedy; per generated token on rank 0\n\n",
              kPrompts);
  std::printf("%-28s %12s %10s %7s %11s %11s %8s\n", "layout", "collectives", "bytes", "plans", "tok/s 50us",
              "tok/s 1ms", "answers");
  bool same = drafted.hash == plain.hash;
  for (const int ranks : {2, 4}) {
    const Layout layouts[] = {{"plain", ranks, 0, nullptr},
                              {"all ranks draft", ranks, 0, drafts()},
                              {"rank 0 drafts (--draft-ranks 1)", ranks, 1, drafts()}};
    for (const Layout& layout : layouts) {
      const Measured m = measure(layout, {});
      const Measured& compute = layout.policy == nullptr ? plain : drafted;
      const auto rate = [&](double delay) {
        return 1 / (compute.seconds / compute.tokens + (m.collectives + m.plans) / m.tokens * delay);
      };
      std::printf("%d ranks, %-19.19s %12.2f %10.0f %7.2f %11.0f %11.1f %8s\n", ranks, layout.name,
                  m.collectives / m.tokens, m.bytes / m.tokens, m.plans / m.tokens, rate(50e-6), rate(1e-3),
                  m.hash == plain.hash ? "==" : "DIFFER");
      same = same && m.hash == plain.hash;
    }
  }
  const Layout check{"", 2, 1, drafts()};
  const Measured slow = measure(check, std::chrono::microseconds(1000)), fast = measure(check, {});
  std::printf(
      "\n2 ranks, --draft-ranks 1, a real delay of 1 ms: %.1f ms a token more; the model says at least "
      "%.1f\n",
      1e3 * (slow.seconds / slow.tokens - fast.seconds / fast.tokens),
      (fast.collectives + fast.plans) / fast.tokens);
  std::printf("of the drafts %.0f %% stood; answers %s\n", 100 * drafted.accepted / drafted.drafted,
              same ? "equal everywhere" : "DIFFER");
  return same ? 0 : 1;
}
