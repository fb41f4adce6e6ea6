#include "coordinator/http/api.h"

#include <gtest/gtest.h>

#include "coordinator/http/openapi.h"
#include "tests/support/fake_coordinator.h"

namespace leadline::coordinator {
namespace {

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() : keys(std::move(*ApiKeys::parse("alice:alice-key-1\n", ""))) {}
  static HttpRequest request(std::string method, std::string path, HeaderList headers = {}) {
    HttpRequest r;
    r.method = std::move(method);
    r.path = std::move(path);
    r.headers = std::move(headers);
    return r;
  }
  static int status(const std::optional<HttpResponse>& response) { return response ? response->status : 0; }
  static std::string sample_path(const Route& route) {
    std::string path(route.path);
    if (path.ends_with('*')) path.back() = 'm';
    return path;
  }
  testing::FakeCoordinator c;
  std::unique_ptr<ApiKeys> keys;
  Api api{c.services};
};

TEST_F(ApiTest, EveryRouteNeedsAKey) {
  c.services.keys = keys.get();
  for (const Route& route : routes()) {
    EXPECT_EQ(route.open, route.console) << route.path;
    if (route.console) continue;  // see OnlyTheConsolesFilesAreOpen
    for (const char* method : {"GET", "HEAD", "POST", "OPTIONS", "DELETE"}) {
      EXPECT_EQ(status(api.check_head(request(method, sample_path(route)))), 401)
          << method << " " << route.path;
    }
    EXPECT_EQ(status(api.check_head(request(std::string(route.method), sample_path(route),
                                            {{"authorization", "Bearer wrong-key-9"}}))),
              401);
    EXPECT_EQ(status(api.check_head(request(std::string(route.method), sample_path(route),
                                            {{"authorization", "Bearer alice-key-1"}}))),
              0)
        << route.path;
  }
  EXPECT_EQ(status(api.check_head(request("GET", "/nothing"))), 401);
  EXPECT_EQ(status(api.check_head(request("GET", "/nothing", {{"authorization", "Bearer alice-key-1"}}))),
            404);
}

TEST_F(ApiTest, OnlyTheConsolesFilesAreOpen) {
  c.services.keys = keys.get();
  std::vector<std::string_view> open;
  for (const Route& route : routes()) {
    if (route.open) open.push_back(route.path);
  }
  EXPECT_EQ(open, (std::vector<std::string_view>{"/", "/console/*"}));
  EXPECT_EQ(status(api.check_head(request("GET", "/"))), 0);
  EXPECT_EQ(status(api.check_head(request("POST", "/"))), 401);
  EXPECT_EQ(status(api.check_head(request("GET", "/console/"))), 401);
  EXPECT_EQ(status(api.check_head(request("GET", "/v1/leadline/status"))), 401);
}

TEST_F(ApiTest, NoConsoleMeansNoSuchPath) {
  c.services.console = false;
  for (const char* path : {"/", "/console/console.js"}) {
    EXPECT_EQ(status(api.check_head(request("GET", path))), 404) << path;
  }
  c.services.keys = keys.get();
  EXPECT_EQ(status(api.check_head(request("GET", "/"))), 401);
  EXPECT_EQ(status(api.check_head(request("GET", "/", {{"authorization", "Bearer alice-key-1"}}))), 404);
  EXPECT_EQ(status(api.check_head(
                request("GET", "/v1/leadline/status", {{"authorization", "Bearer alice-key-1"}}))),
            0);
}

TEST_F(ApiTest, WithoutAKeyFileEveryRouteIsOpen) {
  for (const Route& route : routes()) {
    EXPECT_EQ(status(api.check_head(request(std::string(route.method), sample_path(route)))), 0)
        << route.path;
  }
}

TEST_F(ApiTest, MethodsAndTypes) {
  const auto refused = api.check_head(request("DELETE", "/v1/models"));
  ASSERT_EQ(status(refused), 405);
  const auto has_allow = [](const HttpResponse& r, const char* value) {
    return std::find(r.headers.begin(), r.headers.end(),
                     std::pair<std::string, std::string>("Allow", value)) != r.headers.end();
  };
  EXPECT_TRUE(has_allow(*refused, "GET, HEAD, OPTIONS"));
  EXPECT_TRUE(has_allow(*api.check_head(request("GET", "/v1/completions")), "POST, OPTIONS"));
  EXPECT_EQ(status(api.check_head(request("OPTIONS", "/v1/completions"))), 204);
  EXPECT_EQ(status(api.check_head(request("HEAD", "/v1/models"))), 0);
  EXPECT_EQ(status(api.check_head(request("HEAD", "/v1/completions"))), 405);
  EXPECT_EQ(status(api.check_head(request("GET", "/v1/models/"))), 404);
  EXPECT_EQ(status(api.check_head(request("POST", "/tokenize", {{"content-type", "text/plain"}}))), 415);
  EXPECT_EQ(status(api.check_head(request("POST", "/tokenize", {{"content-encoding", "gzip"}}))), 415);
  EXPECT_EQ(status(api.check_head(
                request("POST", "/tokenize", {{"content-type", "Application/JSON ; charset=utf-8"}}))),
            0);
}

TEST_F(ApiTest, OpenApiNamesEveryRoute) {
  const auto document = nlohmann::json::parse(openapi_document(c.limits, true));
  for (const Route& route : routes()) {
    std::string path(route.path);
    if (route.console) {
      EXPECT_FALSE(document["paths"].contains(path)) << path;
      continue;
    }
    if (path.ends_with('*')) path.replace(path.size() - 1, 1, "{model}");
    ASSERT_TRUE(document["paths"].contains(path)) << path;
    EXPECT_TRUE(document["paths"][path].contains(route.method == "GET" ? "get" : "post"));
  }
  EXPECT_TRUE(document.contains("security"));
}

TEST_F(ApiTest, Models) {
  auto exchange = std::make_shared<testing::FakeExchange>("");
  const_cast<HttpRequest&>(exchange->request()).method = "GET";
  const_cast<HttpRequest&>(exchange->request()).path = "/v1/models/test-model";
  api.handle(exchange);
  EXPECT_EQ(exchange->json()["id"], "test-model");
  auto unknown = std::make_shared<testing::FakeExchange>("");
  const_cast<HttpRequest&>(unknown->request()).method = "GET";
  const_cast<HttpRequest&>(unknown->request()).path = "/v1/models/org/other";
  api.handle(unknown);
  EXPECT_EQ(unknown->response.status, 404);
  EXPECT_EQ(unknown->json()["error"]["code"], "model_not_found");
}

}  // namespace
}  // namespace leadline::coordinator
