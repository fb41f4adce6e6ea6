// coordinator_over_fakes: the real coordinator, sockets and all, over two fake workers in memory that make a
// token each
// --step-ms. For tests of HTTP from outside: no model is loaded, nothing needs MPI. Prints the same line as
// leadline-coordinator.

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>

#include "coordinator/coordinator.h"
#include "monitoring/log.h"
#include "tests/support/fake_chat_template.h"
#include "tests/support/fake_fleet.h"
#include "tests/support/fake_tokenizer.h"

namespace {

using namespace leadline;
using namespace leadline::coordinator;

class SteppingFleet final : public Fleet {
 public:
  SteppingFleet(boost::asio::io_context& io, std::chrono::milliseconds period, std::uint32_t slots,
                const std::string& answer)
      : timer_(io), period_(period) {
    for (int i = 0; i < 2; ++i) fakes_.add(slots).answer = answer;
    step();
  }
  const FleetSnapshot& snapshot() override { return fakes_.snapshot(); }
  WorkerLink* link(transport::WorkerId id) override { return fakes_.link(id); }

 private:
  void step() {
    timer_.expires_after(period_);
    timer_.async_wait([this](boost::system::error_code error) {
      if (error) return;
      fakes_.step();
      step();
    });
  }
  testing::FakeFleet fakes_;
  boost::asio::steady_timer timer_;
  const std::chrono::milliseconds period_;
};

}  // namespace

int main(int argc, char** argv) {
  CoordinatorConfig config;
  config.port = config.admin_port = 0;
  config.served_model_names = {"fake"};
  int step_ms = 1;
  std::uint32_t slots = 64;
  std::string answer = "Hello, world";
  CLI::App app("the coordinator over fake workers");
  app.add_option("--model", config.model_directory)->required();
  app.add_option("--port", config.port);
  app.add_option("--api-key-file", config.api_key_file);
  app.add_option("--tls-cert", config.tls_cert);
  app.add_option("--tls-key", config.tls_key);
  app.add_option("--max-connections", config.limits.connections);
  app.add_option("--header-timeout-ms", config.limits.header_timeout_ms);
  app.add_option("--body-timeout-ms", config.limits.body_timeout_ms);
  app.add_option("--max-waiting", config.limits.waiting_requests);
  app.add_option("--keep-alive-ms", config.limits.keep_alive_ms);
  app.add_option("--drain-ms", config.limits.drain_ms);
  app.add_option("--step-ms", step_ms);
  app.add_option("--slots", slots);
  app.add_option("--answer", answer);
  CLI11_PARSE(app, argc, argv);
  monitoring::init_log({monitoring::LogLevel::warn, false, "coordinator"});
  CoordinatorParts parts;
  parts.tokenizer = std::make_unique<testing::FakeTokenizer>();
  parts.chat_template = std::make_unique<testing::FakeChatTemplate>();
  parts.open_fleet = [&](boost::asio::io_context& io,
                         std::function<void()>) -> Result<std::unique_ptr<Fleet>> {
    return std::make_unique<SteppingFleet>(io, std::chrono::milliseconds(step_ms), slots, answer);
  };
  auto coordinator = Coordinator::open(config, std::move(parts));
  if (!coordinator) {
    std::fprintf(stderr, "%s\n", coordinator.error().message.c_str());
    return 1;
  }
  std::printf("leadline-coordinator listening on %s admin %s\n", (*coordinator)->url().c_str(),
              (*coordinator)->admin_url().c_str());
  std::fflush(stdout);
  (*coordinator)->run();
  return 0;
}
