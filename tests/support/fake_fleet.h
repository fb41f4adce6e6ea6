#pragma once
// FakeFleet: workers in memory behind the Fleet interface, driven by the test: nothing happens until it says
// so, or, with auto_answer, a worker answers a canned text byte by byte on each step(). No sockets. Thread:
// one.

#include <algorithm>
#include <map>

#include "coordinator/fleet/fleet.h"

namespace leadline::testing {

using namespace leadline::transport;
using namespace leadline::coordinator;

class FakeLink final : public WorkerLink {
 public:
  struct Open {
    Generate message;
    GenerationSink* sink;
    std::size_t sent = 0;  // tokens of the answer that were delivered
    bool cancel_asked = false;
  };

  explicit FakeLink(std::uint32_t id) : id_(id) { view.id = WorkerId(id); }

  coordinator::Result<RequestId> generate(Generate request, GenerationSink& sink) override {
    if (refuse_next > 0) {
      --refuse_next;
      return coordinator::fail(coordinator::Errc::unavailable, "refused");
    }
    const RequestId request_id(next_++);
    request.request = request_id;
    history.push_back(request);
    open[request_id.value] = Open{std::move(request), &sink, 0, false};
    view.in_flight = static_cast<std::uint32_t>(open.size());
    return request_id;
  }
  void cancel(RequestId request) override {
    cancelled.push_back(request.value);
    if (open.contains(request.value)) open[request.value].cancel_asked = true;
  }
  void abandon(RequestId request) override {
    if (open.erase(request.value) > 0) abandoned.push_back(request.value);
    view.in_flight = static_cast<std::uint32_t>(open.size());
  }
  void drain() override { view.draining = true; }
  LinkState state() const override { return view.link; }
  const std::string& address() const override { return view.address; }
  const std::string& last_error() const override { return view.last_error; }
  const Welcome& welcome() const override { return welcome_; }
  const Status& status() const override { return status_; }
  std::size_t in_flight() const override { return open.size(); }

  // One token of each open generation: `answer` by position, then eos. The same for every worker, so a
  // continuation fits.
  void step() {
    std::vector<std::uint64_t> ids;
    for (const auto& [request, entry] : open) ids.push_back(request);
    for (const std::uint64_t request : ids) {
      if (open.contains(request)) step_one(request);
    }
  }
  void send_tokens(std::uint64_t request, std::uint32_t first, const std::vector<TokenId>& tokens) {
    TokenBatch batch;
    batch.request = RequestId(request);
    batch.first_index = first;
    for (const TokenId token : tokens) {
      SampledToken sampled;
      sampled.token = token;
      sampled.logprob = -0.5F;
      const auto top = open[request].message.sampling.top_logprobs;
      for (std::int32_t i = 0; i < top; ++i)
        sampled.top_logprobs.push_back({token + i, -0.5F - static_cast<float>(i)});
      batch.tokens.push_back(sampled);
    }
    open[request].sink->on_tokens(std::move(batch));
  }
  void finish(std::uint64_t request, FinishReason reason) {
    const Open entry = open[request];
    open.erase(request);
    view.in_flight = static_cast<std::uint32_t>(open.size());
    Finish finish;
    finish.request = RequestId(request);
    finish.reason = reason;
    finish.prompt_tokens = static_cast<std::uint32_t>(entry.message.prompt.size());
    finish.cached_tokens = usage.cached_tokens;
    finish.kv = usage.kv;
    finish.speculation_rounds = usage.speculation_rounds;
    finish.drafted_tokens = usage.drafted_tokens;
    finish.accepted_tokens = usage.accepted_tokens;
    finish.stop_token = reason == FinishReason::stop ? eos : -1;
    finish.queue_us = 1000;
    finish.prefill_us = 2000;
    finish.decode_us = 3000;
    entry.sink->on_finish(finish);
  }
  void die() {
    auto lost = std::move(open);
    open.clear();
    view.in_flight = 0;
    view.link = LinkState::connecting;
    for (auto& [request, entry] : lost) entry.sink->on_link_lost("connection reset");
  }

  WorkerView view;
  std::map<std::uint64_t, Open> open;
  std::vector<Generate> history;
  std::vector<std::uint64_t> cancelled, abandoned;
  std::string answer = "Hello, world";
  TokenId eos = 257;
  Finish usage;  // what it says of caches and drafts
  int refuse_next = 0;

 private:
  void step_one(std::uint64_t request) {
    Open& entry = open[request];
    if (entry.cancel_asked) return finish(request, FinishReason::cancelled);
    const std::size_t position = entry.message.generated.size() + entry.sent;
    if (position >= entry.message.max_tokens) return finish(request, FinishReason::length);
    const bool at_end = position >= answer.size();
    const TokenId token = at_end ? eos : static_cast<unsigned char>(answer[position]);
    ++entry.sent;
    send_tokens(request, static_cast<std::uint32_t>(position), {token});
    if (at_end && open.contains(request)) finish(request, FinishReason::stop);
  }

  const std::uint32_t id_;
  std::uint64_t next_ = 1;
  Welcome welcome_;
  Status status_;
};

class FakeFleet final : public Fleet {
 public:
  FakeLink& add(std::uint32_t max_sequences = 4) {
    const auto id = static_cast<std::uint32_t>(links.size());
    links.push_back(std::make_unique<FakeLink>(id));
    WorkerView& view = links.back()->view;
    view.link = LinkState::connected;
    view.phase = WorkerPhase::ready;
    view.max_sequences = max_sequences;
    view.model_fingerprint = "model";
    return *links.back();
  }
  const FleetSnapshot& snapshot() override {
    snapshot_.workers.clear();
    for (const auto& link : links) snapshot_.workers.push_back(link->view);
    return snapshot_;
  }
  WorkerLink* link(WorkerId id) override { return id.value < links.size() ? links[id.value].get() : nullptr; }
  void step() {
    for (const auto& link : links) {
      if (link->view.ready()) link->step();
    }
  }

  std::vector<std::unique_ptr<FakeLink>> links;

 private:
  FleetSnapshot snapshot_;
};

}  // namespace leadline::testing
