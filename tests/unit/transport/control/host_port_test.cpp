#include "transport/control/host_port.h"

#include <gtest/gtest.h>

namespace leadline::transport {
namespace {

TEST(HostPort, Accepts) {
  EXPECT_EQ(*parse_host_port("127.0.0.1:80"), (HostPort{"127.0.0.1", 80}));
  EXPECT_EQ(*parse_host_port("worker-0.workers:9000"), (HostPort{"worker-0.workers", 9000}));
  EXPECT_EQ(*parse_host_port("[::1]:65535"), (HostPort{"::1", 65535}));
  EXPECT_EQ(*parse_host_port("h:0"), (HostPort{"h", 0}));
  EXPECT_EQ(to_text(HostPort{"::1", 5}), "[::1]:5");
  EXPECT_EQ(to_text(HostPort{"h", 5}), "h:5");
}

TEST(HostPort, Refuses) {
  for (const char* text :
       {"", "h", ":80", "h:", "h:65536", "h:-1", "h:8x", "::1:80", "[::1]", "[::1]80", "[]:80", "[::1:80"}) {
    auto parsed = parse_host_port(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::configuration) << text;
  }
  EXPECT_FALSE(parse_host_port(std::string(300, 'h') + ":80"));
}

}  // namespace
}  // namespace leadline::transport
