#pragma once
// FakeCoordinator: Services over fakes, a clock that the test moves, and a text pool that works at once.
// Drives handlers without sockets, threads or sleeping. Thread: one.

#include "coordinator/services.h"
#include "tests/support/fake_chat_template.h"
#include "tests/support/fake_exchange.h"
#include "tests/support/fake_fleet.h"
#include "tests/support/fake_tokenizer.h"

namespace leadline::testing {

struct FakeCoordinator {
  FakeCoordinator() {
    model.names = {"test-model"};
    model.max_model_len = 512;
    model.vocab_size = 260;
    dispatcher.set_fleet(&fleet);
  }
  void advance(std::uint64_t ms) {
    now += ms;
    dispatcher.tick();
    auto tasks = std::move(ticks);
    ticks.clear();
    for (auto& task : tasks) {
      if (task()) ticks.push_back(std::move(task));
    }
  }
  // Steps until `exchange` is answered; false after `steps` without.
  bool run(const FakeExchange& exchange, int steps = 2000) {
    for (int i = 0; i < steps && !exchange.answered(); ++i) {
      dispatcher.pump();
      fleet.step();
      advance(1);
    }
    return exchange.answered();
  }

  Limits limits;
  ServedModel model;
  FakeTokenizer tokenizer;
  FakeChatTemplate chat_template;
  CoordinatorMetrics metrics;
  FakeFleet fleet;
  std::uint64_t now = 1000;
  std::vector<std::function<bool()>> ticks;
  std::vector<std::pair<std::function<void()>, std::function<void()>>> held;  // while hold_text is set
  bool hold_text = false;
  Dispatcher dispatcher{limits, tokenizer, metrics, [this] { return now; }, [] {}};
  SessionTable sessions{limits};
  KvHistory kv_history;
  Services services{limits,
                    model,
                    tokenizer,
                    &chat_template,
                    metrics,
                    dispatcher,
                    sessions,
                    kv_history,
                    nullptr,
                    [this] { return now; },
                    [] { return std::int64_t{1'700'000'000}; },
                    [this](std::function<void()> work, std::function<void()> then) {
                      if (hold_text) return held.emplace_back(std::move(work), std::move(then)), void();
                      work();
                      then();
                    },
                    [this](std::function<bool()> each) { ticks.push_back(std::move(each)); },
                    {}};
};

}  // namespace leadline::testing
