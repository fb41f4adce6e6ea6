#include "monitoring/admin_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace leadline::monitoring {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

int dial(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  const timeval limit{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string read_all(int fd) {
  std::string out;
  char buffer[4096];
  for (ssize_t got = 0; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
    out.append(buffer, static_cast<std::size_t>(got));
  }
  close(fd);
  return out;
}

std::string ask(std::uint16_t port, const std::string& bytes) {
  const int fd = dial(port);
  (void)!send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return read_all(fd);
}

class AdminServerTest : public testing::Test {
 protected:
  void start(const AdminOptions& options = {}, std::vector<AdminRoute> more = {}) {
    auto started = AdminServer::start(options, metrics_, health_, std::move(more));
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }
  std::string get(const std::string& path) {
    return ask(server_->port(), "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  MetricsRegistry metrics_;
  ProcessHealth health_;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminServerTest, AnswersMetricsAndHealth) {
  metrics_.gauge("leadline_size_bytes", "Size.").set(7);
  start();
  EXPECT_THAT(get("/metrics"), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("leadline_size_bytes 7"),
                                     HasSubstr("text/plain; version=0.0.4")));
  EXPECT_THAT(get("/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(get("/readyz"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(get("/startupz"), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("\"phase\":\"starting\"")));
  health_.set_phase(StartupPhase::ready);
  EXPECT_THAT(get("/readyz?verbose"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, GetChangesNothingAndOtherPathsAndMethodsAreRefused) {
  int drained = 0;
  start({}, {{"POST", "/admin/drain", [&drained](const AdminRequest& request) {
                ++drained;
                return AdminResponse{202, "application/json", request.body};
              }}});
  EXPECT_THAT(get("/admin/drain"), AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: POST\r\n")));
  EXPECT_EQ(drained, 0);
  EXPECT_THAT(ask(server_->port(), "POST /admin/drain HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"),
              AllOf(StartsWith("HTTP/1.1 202 "), testing::EndsWith("\r\n\r\n{}")));
  EXPECT_EQ(drained, 1);
  EXPECT_THAT(get("/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(server_->port(), "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET\r\n")));
}

TEST_F(AdminServerTest, BytesAreBounded) {
  AdminOptions options;
  options.max_request_bytes = 2048;
  start(options);
  EXPECT_THAT(ask(server_->port(), "GET / HTTP/1.1\r\nx: " + std::string(4000, 'a')),
              StartsWith("HTTP/1.1 431 "));
}

TEST_F(AdminServerTest, ASlowRequestEndsWithTimeoutWhileOthersAreServed) {
  AdminOptions options;
  options.request_timeout_ms = 200;
  start(options);
  const int slow = dial(server_->port());
  (void)!send(slow, "GET /live", 9, MSG_NOSIGNAL);
  EXPECT_THAT(get("/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(read_all(slow), StartsWith("HTTP/1.1 408 "));
}

TEST_F(AdminServerTest, ConnectionsAreBoundedAndComeFreeAgain) {
  AdminOptions options;
  options.max_connections = 2;
  options.request_timeout_ms = 500;
  start(options);
  const int first = dial(server_->port()), second = dial(server_->port());
  (void)!send(first, "G", 1, MSG_NOSIGNAL);
  (void)!send(second, "G", 1, MSG_NOSIGNAL);
  EXPECT_EQ(read_all(dial(server_->port())), "");  // one too many: closed at once
  EXPECT_THAT(read_all(first), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(read_all(second), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(get("/livez"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, ALargeAnswerArrivesWhole) {
  for (int i = 0; i < 100; ++i) {
    for (int w = 0; w < 100; ++w) {
      metrics_.gauge("leadline_big_" + std::to_string(i), std::string(100, 'h'),
                     {{"worker", std::to_string(w)}});
    }
  }
  start();
  const std::string answer = get("/metrics");
  const auto length_at = answer.find("Content-Length: ") + 16, body_at = answer.find("\r\n\r\n") + 4;
  EXPECT_EQ(answer.size() - body_at, std::stoul(answer.substr(length_at)));
  EXPECT_GT(answer.size(), 300'000U);
}

TEST_F(AdminServerTest, APortInUseIsAnErrorThatNamesIt) {
  start();
  AdminOptions same;
  same.port = server_->port();
  const auto second = AdminServer::start(same, metrics_, health_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr(std::to_string(server_->port())));
  AdminOptions nowhere;
  nowhere.host = "203.0.113.1";  // a documentation address
  EXPECT_FALSE(AdminServer::start(nowhere, metrics_, health_));
}

TEST_F(AdminServerTest, StopEndsOpenConnectionsAndIsIdempotent) {
  start();
  const int open = dial(server_->port());
  EXPECT_THAT(get("/livez"), StartsWith("HTTP/1.1 200 "));  // so that `open` has been accepted too
  server_->stop();
  server_->stop();
  EXPECT_EQ(read_all(open), "");
}

}  // namespace
}  // namespace leadline::monitoring
