#pragma once
// HttpClient: one keep-alive connection to one server, a request at a time, bodies handed out as they arrive.
// Not a pool and no redirects. Beast parses, in the .cpp only. Thread: one at a time. Invariants: an answer
// larger than kMaxBody is an error unless it is streamed to `on_body`.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deploy/cli/client_stream.h"
#include "deploy/cli/url.h"

namespace leadline::deploy {

struct HttpRequest {
  std::string method = "GET";
  std::string path;                            // after the URL's prefix, from '/'
  std::string body;                            // JSON, when not empty
  std::string api_key;                         // "" = none
  std::chrono::milliseconds timeout{600'000};  // for the whole answer
};

struct HttpAnswer {
  int status = 0;
  std::string content_type;
  std::string body;  // empty where on_body took it
};

class HttpClient {
 public:
  static constexpr std::size_t kMaxBody = 64 << 20;
  // Called with pieces of a 200's body as they come; false ends the request (and the connection).
  using OnBody = std::function<bool(std::string_view)>;

  HttpClient(Url url, StreamOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Connects if needed; a kept connection that the server had closed meanwhile is opened anew, once.
  Result<HttpAnswer> send(const HttpRequest& request, const OnBody& on_body = {});

 private:
  Result<HttpAnswer> exchange(const HttpRequest& request, const OnBody& on_body, bool& received_any);
  Url url_;
  StreamOptions options_;
  std::unique_ptr<ClientStream> stream_;
};

}  // namespace leadline::deploy
