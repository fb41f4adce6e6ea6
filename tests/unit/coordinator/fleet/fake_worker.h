#pragma once
// FakeWorker: the worker's end of the control protocol on a free loopback port, which keeps what it hears and
// says what a test tells it. Not an engine. Thread: the test's io_context.

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "transport/control/control_server.h"

namespace leadline::tests {

class FakeWorker {
 public:
  explicit FakeWorker(boost::asio::io_context& io, std::string listen = "127.0.0.1:0") {
    transport::ControlServerOptions options;
    options.listen = std::move(listen);
    transport::ControlServerHandlers handlers;
    handlers.describe = [this] { return welcome; };
    handlers.on_channel = [this](std::shared_ptr<transport::Channel> handed) {
      channel = std::move(handed);
      channel->start({[this](transport::Message m) { heard.push_back(std::move(m)); }, nullptr, nullptr});
      channel->send(status);
    };
    server_ = std::move(*transport::ControlServer::open(io, std::move(options), std::move(handlers)));
    status.phase = transport::WorkerPhase::ready;
    welcome.max_model_len = 512;
    welcome.model_fingerprint = "fp";
  }
  ~FakeWorker() { vanish(); }
  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
  void say(const transport::Message& message) { channel->send(message); }
  void vanish() {  // the connection breaks and nobody listens any more
    if (channel != nullptr) channel->abandon();
    channel.reset();
    server_->stop_accepting();
  }

  transport::Welcome welcome;
  transport::Status status;
  std::vector<transport::Message> heard;
  std::shared_ptr<transport::Channel> channel;

 private:
  std::unique_ptr<transport::ControlServer> server_;
};

// Runs the loop until the condition holds; false after 5 s, which only a failing test waits.
template <typename Condition>
bool run_until(boost::asio::io_context& io, Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!condition() && std::chrono::steady_clock::now() < deadline) {
    io.restart();
    io.run_one_for(std::chrono::milliseconds(10));
  }
  return condition();
}

}  // namespace leadline::tests
