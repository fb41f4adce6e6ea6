#include "coordinator/http/error_response.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leadline::coordinator {
namespace {

TEST(ErrorResponseTest, StatusOfEveryCode) {
  const struct {
    Errc code;
    int status;
    const char* type;
  } cases[] = {
      {Errc::invalid_request, 400, "invalid_request_error"},
      {Errc::unsupported, 400, "invalid_request_error"},
      {Errc::unauthorized, 401, "authentication_error"},
      {Errc::not_found, 404, "not_found_error"},
      {Errc::method_not_allowed, 405, "invalid_request_error"},
      {Errc::request_timeout, 408, "timeout_error"},
      {Errc::too_large, 413, "invalid_request_error"},
      {Errc::overloaded, 429, "rate_limit_error"},
      {Errc::unavailable, 503, "service_unavailable_error"},
      {Errc::internal, 500, "server_error"},
      {Errc::io, 500, "server_error"},
      {Errc::unknown, 500, "server_error"},
  };
  for (const auto& c : cases) {
    const HttpResponse response = error_response(Error{c.code, "words", "field"}, 7);
    EXPECT_EQ(response.status, c.status);
    const auto body = nlohmann::json::parse(response.body);
    EXPECT_EQ(body["error"]["type"], c.type);
    EXPECT_EQ(body["error"]["message"], "words");
    EXPECT_EQ(body["error"]["param"], "field");
    EXPECT_TRUE(body["error"]["code"].is_string());
    const bool retry = std::any_of(response.headers.begin(), response.headers.end(),
                                   [](const auto& h) { return h.first == "Retry-After" && h.second == "7"; });
    EXPECT_EQ(retry, c.status == 429 || c.status == 503);
  }
}

TEST(ErrorResponseTest, ParamIsNullWhenThereIsNone) {
  EXPECT_TRUE(nlohmann::json::parse(error_body(400, "x", ""))["error"]["param"].is_null());
}

TEST(ErrorResponseTest, BrokenUtf8InAMessageIsReplaced) {
  EXPECT_TRUE(nlohmann::json::accept(error_body(400, "bad \xff byte", "")));
}

}  // namespace
}  // namespace leadline::coordinator
