// The client against a real server: the admin server, whose answers are scripted here as raw bytes where it
// would not do.
#include "deploy/cli/http_client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "deploy/cli/api_client.h"

namespace leadline::deploy {
namespace {

using testing::HasSubstr;

using Scripts = std::vector<std::vector<std::string>>;

// Accepts one connection per script, reads a request each, writes its bytes in the given pieces, closes.
class ScriptedServer {
 public:
  explicit ScriptedServer(Scripts scripts) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    listen(listener_, 8);
    socklen_t length = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this, scripts = std::move(scripts)] {
      for (const auto& pieces : scripts) serve(pieces);
    });
  }
  ~ScriptedServer() {
    thread_.join();
    close(listener_);
  }
  [[nodiscard]] Url url() const { return *parse_url("127.0.0.1:" + std::to_string(port)); }

  int port = 0;
  std::string received;

 private:
  void serve(const std::vector<std::string>& pieces) {
    const int fd = accept(listener_, nullptr, nullptr);
    char buffer[65536];
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    received.append(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
    for (const std::string& piece : pieces) (void)!send(fd, piece.data(), piece.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (recv(fd, buffer, sizeof buffer, 0) > 0) {
    }
    close(fd);
  }
  int listener_ = -1;
  std::thread thread_;
};

TEST(HttpClient, ReadsALengthDelimitedAnswer) {
  ScriptedServer server(
      {{"HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\nContent-", "Length: 5\r\n\r\nhel", "lo"}});
  HttpClient client(server.url(), {});
  HttpRequest request{.method = "POST", .path = "/x", .body = "{}", .api_key = "k"};
  const auto answer = client.send(request);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->content_type, "a/b");
  EXPECT_EQ(answer->body, "hello");
  EXPECT_THAT(server.received, testing::StartsWith("POST /x HTTP/1.1\r\nHost: 127.0.0.1:"));
  EXPECT_THAT(server.received, HasSubstr("Authorization: Bearer k\r\n"));
}

TEST(HttpClient, HandsOutChunksAsTheyCome) {
  ScriptedServer server(
      {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "2\r\nd", "e\r\n0\r\n\r\n"}});
  HttpClient client(server.url(), {});
  std::string body;
  const auto answer = client.send({}, [&](std::string_view piece) {
    body += piece;
    return true;
  });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(body, "abcde");
  EXPECT_EQ(answer->body, "");
}

TEST(HttpClient, ACutAnswerIsAnErrorAndNotAShortOne) {
  ScriptedServer server(Scripts{{"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel"},
                                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"},
                                {"nonsense\r\n\r\n"}});
  for (int i = 0; i < 3; ++i) {
    HttpClient client(server.url(), {});
    EXPECT_FALSE(client.send({})) << i;
  }
}

TEST(HttpClient, AnOldConnectionThatWasClosedIsOpenedAnewOnce) {
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  ScriptedServer server(Scripts{{ok}, {ok}});
  HttpClient client(server.url(), {});
  EXPECT_EQ(client.send({})->body, "ok");
  EXPECT_EQ(client.send({})->body, "ok");
}

TEST(HttpClient, AnInterruptEndsAWait) {
  ScriptedServer server(Scripts{{}});
  const int interrupt = eventfd(1, 0);
  StreamOptions options;
  options.interrupt_fd = interrupt;
  HttpClient client(server.url(), options);
  const auto answer = client.send({});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::interrupted);
  close(interrupt);
  HttpClient other(server.url(), {});  // lets the script end where the first one did not get that far
  HttpRequest quick;
  quick.timeout = std::chrono::milliseconds(500);
  (void)other.send(quick);
}

TEST(HttpClient, NobodyThereIsAnErrorThatNamesTheAddress) {
  HttpClient client(*parse_url("127.0.0.1:1"), {});
  const auto answer = client.send({});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::io);
  EXPECT_THAT(answer.error().message, HasSubstr("127.0.0.1:1"));
}

TEST(ApiClient, StreamsTextAndReportsUsage) {
  const std::string events =
      "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n: keep-alive\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
  ScriptedServer server(
      {{"HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(events.size()) + "\r\n\r\n" + events}});
  ServerOptions options;
  options.url = "http://127.0.0.1:" + std::to_string(server.port);
  auto client = ApiClient::create(options);
  std::string text;
  const auto answer =
      client->generate("/v1/chat/completions", "{}", [&](std::string_view piece) { text += piece; });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(text, "Hi");
  EXPECT_EQ(answer->completion_tokens, 1);
}

TEST(ApiClient, AnErrorEventInAStreamIsAnError) {
  const std::string events = "data: {\"error\":{\"message\":\"worker lost\"}}\n\n";
  ScriptedServer server(
      {{"HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(events.size()) + "\r\n\r\n" + events}});
  ServerOptions options;
  options.url = "127.0.0.1:" + std::to_string(server.port);
  auto client = ApiClient::create(options);
  const auto answer = client->generate("/v1/completions", "{}", [](std::string_view) {});
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("worker lost"));
}

TEST(ApiClient, AKeyIsOneLine) {
  ServerOptions options;
  options.api_key = "a\r\nX-Evil: 1";
  EXPECT_FALSE(ApiClient::create(options));
}

}  // namespace
}  // namespace leadline::deploy
