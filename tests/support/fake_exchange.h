#pragma once
// FakeExchange: an HTTP request in memory that keeps what was answered. Thread: one.

#include <nlohmann/json.hpp>

#include "coordinator/http/http_message.h"

namespace leadline::testing {

class FakeExchange final : public coordinator::Exchange {
 public:
  explicit FakeExchange(std::string body) {
    request_.method = "POST";
    request_.request_id = "test";
    request_.body = std::move(body);
  }
  const coordinator::HttpRequest& request() const override { return request_; }
  std::string take_body() override { return std::move(request_.body); }
  void respond(coordinator::HttpResponse r) override {
    ++answers;
    response = std::move(r);
  }
  void begin_stream(coordinator::HeaderList h) override {
    ++answers;
    streamed = true;
    response.headers = std::move(h);
  }
  bool write(std::string_view bytes) override {
    if (gone) return false;
    stream.append(bytes);
    return true;
  }
  void end_stream() override { stream_ended = true; }
  void on_disconnect(std::function<void()> callback) override { disconnect = std::move(callback); }

  bool answered() const { return streamed ? stream_ended : answers > 0; }
  nlohmann::json json() const { return nlohmann::json::parse(response.body); }
  std::string header(std::string_view name) const {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return {};
  }
  // The JSON of every data event; "[DONE]" as a string, comments left out.
  std::vector<nlohmann::json> events() const {
    std::vector<nlohmann::json> out;
    std::size_t at = 0;
    while (at < stream.size()) {
      const std::size_t end = stream.find("\n\n", at);
      const std::string line = stream.substr(at, end - at);
      at = end == std::string::npos ? stream.size() : end + 2;
      if (!line.starts_with("data: ")) continue;
      out.push_back(line == "data: [DONE]" ? nlohmann::json("[DONE]")
                                           : nlohmann::json::parse(line.substr(6)));
    }
    return out;
  }

  coordinator::HttpResponse response;
  std::string stream;
  std::function<void()> disconnect;
  int answers = 0;
  bool streamed = false, stream_ended = false, gone = false;

 private:
  coordinator::HttpRequest request_;
};

}  // namespace leadline::testing
