#include "coordinator/coordinator_config.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

CoordinatorConfig good() {
  CoordinatorConfig config;
  config.model_directory = "m";
  config.workers = {"127.0.0.1:7000"};
  return config;
}

TEST(CoordinatorConfigTest, AcceptsLoopbackWithoutASecret) {
  for (const char* address : {"127.0.0.1:1", "localhost:65535", "[::1]:80", "127.9.9.9:80"}) {
    CoordinatorConfig config = good();
    config.workers = {address};
    EXPECT_TRUE(check_config(config)) << address;
  }
}

TEST(CoordinatorConfigTest, RefusesByFlag) {
  const auto refused = [](auto change, const char* word) {
    CoordinatorConfig config = good();
    change(config);
    const auto result = check_config(config);
    ASSERT_FALSE(result) << word;
    EXPECT_NE(result.error().message.find(word), std::string::npos) << result.error().message;
  };
  refused([](auto& c) { c.model_directory = ""; }, "--model");
  refused([](auto& c) { c.workers = {}; }, "--worker");
  refused([](auto& c) { c.workers = {"10.0.0.1:70"}; }, "--control-secret-file");
  refused([](auto& c) { c.workers_dns = {"workers.svc:70"}; }, "--control-secret-file");
  refused([](auto& c) { c.workers = {"127.0.0.1"}; }, "HOST:PORT");
  refused([](auto& c) { c.workers = {"127.0.0.1:0"}; }, "HOST:PORT");
  refused([](auto& c) { c.workers = {"127.0.0.1:65536"}; }, "HOST:PORT");
  refused([](auto& c) { c.workers = {"127.0.0.1:8x"}; }, "HOST:PORT");
  refused([](auto& c) { c.tls_cert = "c"; }, "--tls-cert");
  refused([](auto& c) { c.text_threads = 0; }, "--text-threads");
}

}  // namespace
}  // namespace leadline::coordinator
