// leadline-fake-worker: a worker process that speaks the control protocol and makes up its tokens: token i of
// a generation is a pure function of prompt, seed and i, so a continuation elsewhere must fit byte for byte.
// For tests of failover, cancel and back-pressure with real processes and links. Text: letters of the
// byte-level alphabet that the reference tokenizer has.

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>
#include <map>

#include "monitoring/log.h"
#include "transport/control/control_server.h"

namespace {

using namespace leadline;
using namespace leadline::transport;

struct Options {
  std::string listen = "127.0.0.1:0", secret, fingerprint = "fake";
  std::uint32_t max_sequences = 8, inbox = 1000, length = 64, vocab = 4000;
  int step_ms = 10, load_ms = 0;
  TokenId eos = 4092;
};

class FakeWorker {
 public:
  FakeWorker(boost::asio::io_context& io, Options options)
      : options_(std::move(options)), timer_(io), load_timer_(io) {}

  Result<void> open(boost::asio::io_context& io) {
    ControlServerOptions server;
    server.listen = options_.listen;
    server.secret = options_.secret;
    ControlServerHandlers handlers;
    handlers.describe = [this] {
      Welcome welcome;
      welcome.model_fingerprint = options_.fingerprint;
      welcome.max_model_len = 4096;
      welcome.max_sequences = options_.max_sequences;
      welcome.ranks = 1;
      welcome.vocab_size = 4096;
      return welcome;
    };
    handlers.on_channel = [this](std::shared_ptr<Channel> channel) { take(std::move(channel)); };
    auto opened = ControlServer::open(io, server, handlers);
    if (!opened) return tl::unexpected(opened.error());
    server_ = std::move(*opened);
    if (options_.load_ms > 0) {
      phase_ = WorkerPhase::loading;
      load_timer_.expires_after(std::chrono::milliseconds(options_.load_ms));
      load_timer_.async_wait([this](boost::system::error_code error) {
        if (error) return;
        phase_ = WorkerPhase::ready;
        send_status();
      });
    }
    step();
    return {};
  }
  std::uint16_t port() const { return server_->port(); }

 private:
  struct Sequence {
    Generate request;
    std::uint32_t made = 0;
    bool cancelled = false;
  };

  void take(std::shared_ptr<Channel> channel) {
    channel_ = std::move(channel);
    sequences_.clear();
    ChannelHandlers handlers;
    handlers.on_message = [this](Message message) { on_message(std::move(message)); };
    handlers.on_closed = [this](Error) {
      sequences_.clear();
      channel_.reset();
    };
    channel_->start(handlers);
    send_status();
  }
  void on_message(Message message) {
    if (auto* generate = std::get_if<Generate>(&message)) {
      if (sequences_.size() >= options_.inbox) return finish(*generate, 0, FinishReason::overloaded);
      std::fprintf(stderr, "generate %llu prompt %zu generated %zu\n",
                   static_cast<unsigned long long>(generate->request.value), generate->prompt.size(),
                   generate->generated.size());
      const auto id = generate->request.value;
      sequences_[id] = Sequence{std::move(*generate)};
    } else if (auto* cancel = std::get_if<Cancel>(&message)) {
      std::fprintf(stderr, "cancel %llu\n", static_cast<unsigned long long>(cancel->request.value));
      if (const auto found = sequences_.find(cancel->request.value); found != sequences_.end())
        found->second.cancelled = true;
    }
  }
  void send_status() {
    if (!channel_) return;
    Status status;
    status.phase = phase_;
    status.running = static_cast<std::uint32_t>(sequences_.size());
    status.steps = steps_;
    channel_->send(status);
  }
  TokenId token_at(const Generate& request, std::uint32_t position) const {
    std::uint64_t hash = request.sampling.seed * 0x9E3779B97F4A7C15ULL + position;
    for (const TokenId token : request.prompt)
      hash = (hash ^ static_cast<std::uint64_t>(token)) * 0xBF58476D1CE4E5B9ULL;
    return static_cast<TokenId>((hash >> 20) % options_.vocab);
  }
  void finish(const Generate& request, std::uint32_t made, FinishReason reason) {
    Finish finish;
    finish.request = request.request;
    finish.reason = reason;
    finish.prompt_tokens = static_cast<std::uint32_t>(request.prompt.size());
    finish.generated_tokens = made;
    finish.stop_token = reason == FinishReason::stop ? options_.eos : -1;
    if (channel_) channel_->send(finish);
  }
  bool advance(Sequence& sequence) {  // false: it ended
    const Generate& request = sequence.request;
    const auto position = static_cast<std::uint32_t>(request.generated.size()) + sequence.made;
    if (sequence.cancelled) return finish(request, sequence.made, FinishReason::cancelled), false;
    if (position >= request.max_tokens) return finish(request, sequence.made, FinishReason::length), false;
    const bool last = position >= options_.length && !request.ignore_eos;
    TokenBatch batch;
    batch.request = request.request;
    batch.first_index = position;
    batch.tokens.push_back({last ? options_.eos : token_at(request, position), -1.0F, {}});
    ++sequence.made;
    if (channel_) channel_->send(batch);
    if (last) finish(request, sequence.made, FinishReason::stop);
    return !last;
  }
  void step() {
    timer_.expires_after(std::chrono::milliseconds(options_.step_ms));
    timer_.async_wait([this](boost::system::error_code error) {
      if (error) return;
      ++steps_;
      std::uint32_t running = 0;
      for (auto it = sequences_.begin(); it != sequences_.end() && phase_ == WorkerPhase::ready;) {
        if (running++ >= options_.max_sequences) break;
        it = advance(it->second) ? std::next(it) : sequences_.erase(it);
      }
      if (steps_ % 20 == 0) send_status();
      step();
    });
  }

  const Options options_;
  boost::asio::steady_timer timer_, load_timer_;
  std::unique_ptr<ControlServer> server_;
  std::shared_ptr<Channel> channel_;  // handed out shared by the server
  std::map<std::uint64_t, Sequence> sequences_;
  WorkerPhase phase_ = WorkerPhase::ready;
  std::uint64_t steps_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("a worker that makes its tokens up");
  app.add_option("--listen", options.listen);
  app.add_option("--secret", options.secret);
  app.add_option("--fingerprint", options.fingerprint);
  app.add_option("--max-sequences", options.max_sequences);
  app.add_option("--inbox", options.inbox, "beyond so many sequences it hands work back");
  app.add_option("--length", options.length, "tokens before eos");
  app.add_option("--step-ms", options.step_ms);
  app.add_option("--load-ms", options.load_ms, "stay in phase loading for so long");
  CLI11_PARSE(app, argc, argv);
  monitoring::init_log({monitoring::LogLevel::warn, false, "fake worker"});
  boost::asio::io_context io(1);
  FakeWorker worker(io, options);
  if (auto opened = worker.open(io); !opened) {
    std::fprintf(stderr, "%s\n", opened.error().message.c_str());
    return 1;
  }
  std::printf("worker listening on 127.0.0.1:%u\n", worker.port());
  std::fflush(stdout);
  io.run();
  return 0;
}
