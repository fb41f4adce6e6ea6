#include "deploy/cli/http_client.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <limits>

namespace leadline::deploy {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;

std::string to_bytes(const HttpRequest& request, const Url& url) {
  std::string out = request.method + " " + url.prefix + request.path +
                    " HTTP/1.1\r\nHost: " + url.authority() +
                    "\r\nUser-Agent: leadline\r\nAccept: application/json, text/event-stream\r\n";
  if (!request.api_key.empty()) out += "Authorization: Bearer " + request.api_key + "\r\n";
  if (!request.body.empty() || request.method == "POST") {
    out +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  return out + "\r\n" + request.body;
}

// Feeds what has come to the parser; what it did not take stays in `pending`.
Result<void> feed(Parser& parser, std::string& pending) {
  while (!pending.empty() && !parser.is_done()) {
    boost::system::error_code error;
    const std::size_t used = parser.put(boost::asio::buffer(pending), error);
    pending.erase(0, used);
    if (error == http::error::need_more) return {};
    if (error) return fail(Errc::protocol, "malformed answer: " + error.message());
    if (used == 0) return {};
  }
  return {};
}

}  // namespace

HttpClient::HttpClient(Url url, StreamOptions options) : url_(std::move(url)), options_(std::move(options)) {}
HttpClient::~HttpClient() = default;

Result<HttpAnswer> HttpClient::exchange(const HttpRequest& request, const OnBody& on_body,
                                        bool& received_any) {
  const auto deadline = std::chrono::steady_clock::now() + request.timeout;
  if (stream_ == nullptr) {
    auto connected = ClientStream::connect(url_, options_, deadline);
    if (!connected) return tl::unexpected(connected.error());
    stream_ = std::move(*connected);
  }
  if (auto sent = stream_->write_all(to_bytes(request, url_), deadline); !sent)
    return tl::unexpected(sent.error());
  Parser parser;
  parser.eager(true);
  parser.body_limit(std::numeric_limits<std::uint64_t>::max());
  std::array<char, 16384> buffer;
  std::string pending;
  HttpAnswer answer;
  while (!parser.is_done()) {
    const auto got = stream_->read_some(buffer, deadline);
    if (!got) return tl::unexpected(got.error());
    received_any |= *got > 0;
    if (*got == 0) {
      boost::system::error_code error;
      if (received_any) parser.put_eof(error);  // Beast asserts that something came before the end
      if (error || !parser.is_done()) {
        return fail(Errc::io, "the server closed the connection before its answer was whole");
      }
    }
    pending.append(buffer.data(), *got);
    if (auto fed = feed(parser, pending); !fed) return tl::unexpected(fed.error());
    std::string& body = parser.get().body();
    if (parser.is_header_done() && on_body && parser.get().result_int() == 200 && !body.empty()) {
      if (!on_body(body)) return fail(Errc::interrupted, "stopped");
      body.clear();
    }
    if (body.size() > kMaxBody) return fail(Errc::protocol, "the answer is too large");
  }
  answer.status = static_cast<int>(parser.get().result_int());
  answer.content_type = std::string(parser.get()[http::field::content_type]);
  answer.body = std::move(parser.get().body());
  if (!parser.get().keep_alive()) stream_.reset();
  return answer;
}

Result<HttpAnswer> HttpClient::send(const HttpRequest& request, const OnBody& on_body) {
  const bool kept = stream_ != nullptr;
  bool received_any = false;
  Result<HttpAnswer> answer = exchange(request, on_body, received_any);
  if (!answer) stream_.reset();
  if (!answer && kept && !received_any && answer.error().code == Errc::io) {
    answer = exchange(request, on_body, received_any);
    if (!answer) stream_.reset();
  }
  return answer;
}

}  // namespace leadline::deploy
