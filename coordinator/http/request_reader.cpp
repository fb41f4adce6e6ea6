#include "coordinator/http/request_reader.h"

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "coordinator/http/head_check.h"
#include "monitoring/check.h"

namespace leadline::coordinator {

namespace {

namespace http = boost::beast::http;

constexpr std::string_view kEndOfHead = "\r\n\r\n";

}  // namespace

struct RequestReader::Parser {
  http::request_parser<http::string_body> beast;
};

RequestReader::RequestReader(const Limits& limits) : limits_(limits) {}
RequestReader::~RequestReader() = default;

ReadState RequestReader::refuse(int status, std::string message) {
  failure_ = {status, std::move(message)};
  buffer_.clear();
  consumed_ = scanned_ = 0;
  parser_.reset();
  return state_ = ReadState::failed;
}

bool RequestReader::wants_bytes() const {
  if (state_ == ReadState::failed) return false;
  if (state_ == ReadState::complete || state_ == ReadState::head_done)
    return buffered_bytes() < limits_.header_bytes;
  return true;
}

std::optional<std::uint64_t> RequestReader::content_length() const {
  if (!parser_) return std::nullopt;
  const auto length = parser_->beast.content_length();
  return length ? std::optional<std::uint64_t>(*length) : std::nullopt;
}

ReadState RequestReader::feed(std::string_view bytes) {
  if (state_ == ReadState::failed) return state_;
  if (consumed_ > 0) {
    buffer_.erase(0, consumed_);
    scanned_ -= std::min(scanned_, consumed_);
    consumed_ = 0;
  }
  buffer_.append(bytes);
  return advance();
}

ReadState RequestReader::advance() {
  if (state_ == ReadState::idle || state_ == ReadState::head) return advance_head();
  if (state_ == ReadState::body) return advance_body();
  return state_;
}

ReadState RequestReader::advance_head() {
  // Empty lines before a request line are skipped (RFC 9112 2.2), a few of them.
  while (state_ == ReadState::idle && buffered_bytes() >= 2 && buffer_[consumed_] == '\r' &&
         buffer_[consumed_ + 1] == '\n') {
    consumed_ += 2;
  }
  if (state_ == ReadState::idle && buffered_bytes() == 1 && buffer_[consumed_] == '\r')
    return state_;  // half of one
  if (buffered_bytes() == 0) return state_;
  state_ = ReadState::head;
  const std::size_t from = std::max(consumed_, scanned_ > 3 ? scanned_ - 3 : 0);
  const std::size_t end = buffer_.find(kEndOfHead, from);
  if (end == std::string::npos) {
    scanned_ = buffer_.size();
    if (buffered_bytes() > limits_.header_bytes) {
      const std::size_t line = buffer_.find('\n', consumed_);
      if (line == std::string::npos) return refuse(414, "the request line is longer than the limit");
      return refuse(431,
                    "the request's header is larger than " + std::to_string(limits_.header_bytes) + " bytes");
    }
    // A head that uses bare LF never ends for us: refuse it at once instead of waiting for the timeout.
    if (buffer_.find("\n\n", consumed_) != std::string::npos)
      return refuse(400, "header lines must end in CR LF");
    return state_;
  }
  const std::size_t head_size = end + kEndOfHead.size() - consumed_;
  if (head_size > limits_.header_bytes) {
    return refuse(431,
                  "the request's header is larger than " + std::to_string(limits_.header_bytes) + " bytes");
  }
  return take_head(head_size);
}

std::optional<ReadFailure> RequestReader::read_target(std::string target) {
  if (target.starts_with("http://") || target.starts_with("https://")) {  // absolute form
    const std::size_t slash = target.find('/', target.find("//") + 2);
    target = slash == std::string::npos ? "/" : target.substr(slash);
  }
  if (target != "*" && !target.starts_with('/')) return ReadFailure{400, "the request target is not a path"};
  const std::size_t query = target.find('?');
  if (query != std::string::npos) request_.query = target.substr(query + 1);
  auto path = percent_decode(std::string_view(target).substr(0, query));
  if (!path) return ReadFailure{400, "the request target has a bad percent escape"};
  request_.path = std::move(*path);
  return std::nullopt;
}

ReadState RequestReader::take_head(std::size_t head_size) {
  const std::string_view head = std::string_view(buffer_).substr(consumed_, head_size);
  if (auto fault = check_head(head, limits_)) return refuse(fault->status, std::move(fault->message));

  parser_ = std::make_unique<Parser>();
  auto& beast = parser_->beast;
  beast.header_limit(static_cast<std::uint32_t>(limits_.header_bytes + 16));
  beast.body_limit(limits_.body_bytes);
  boost::system::error_code error;
  const std::size_t used = beast.put(boost::asio::buffer(head), error);
  if (error == http::error::body_limit) {
    return refuse(413, "the body is larger than " + std::to_string(limits_.body_bytes) + " bytes");
  }
  if (error && error != http::error::need_more) return refuse(400, "the request head is malformed");
  if (!beast.is_header_done() || used != head_size) return refuse(400, "the request head is malformed");
  consumed_ += head_size;
  scanned_ = 0;

  const auto& message = beast.get();
  request_ = HttpRequest{};
  request_.method = std::string(message.method_string());
  request_.http10 = message.version() == 10;
  request_.keep_alive = message.keep_alive();
  for (const auto& field : message) {
    request_.headers.emplace_back(lower_case(field.name_string()), std::string(field.value()));
  }
  if (auto fault = read_target(std::string(message.target())))
    return refuse(fault->status, std::move(fault->message));
  expects_continue_ = !request_.http10 && !request_.header("expect").empty();
  return state_ = ReadState::head_done;
}

ReadState RequestReader::read_body() {
  LEADLINE_CHECK(state_ == ReadState::head_done, "read_body before a head");
  state_ = ReadState::body;
  return advance_body();
}

ReadState RequestReader::advance_body() {
  auto& beast = parser_->beast;
  while (!beast.is_done()) {
    if (buffered_bytes() == 0) return state_;
    boost::system::error_code error;
    const std::size_t used =
        beast.put(boost::asio::buffer(buffer_.data() + consumed_, buffered_bytes()), error);
    consumed_ += used;
    if (error == http::error::body_limit) {
      return refuse(413, "the body is larger than " + std::to_string(limits_.body_bytes) + " bytes");
    }
    if (error == http::error::need_more) {
      // What the parser leaves is part of one chunk header or trailer: bounded like a head.
      if (buffered_bytes() > limits_.header_bytes)
        return refuse(431, "a chunk header is larger than the limit");
      return state_;
    }
    if (error) return refuse(400, "the body's framing is malformed");
  }
  request_.body = std::move(beast.get().body());
  parser_.reset();
  return state_ = ReadState::complete;
}

ReadState RequestReader::next() {
  LEADLINE_CHECK(state_ == ReadState::complete, "next before the request was complete");
  request_ = HttpRequest{};
  expects_continue_ = false;
  state_ = ReadState::idle;
  scanned_ = 0;
  return advance_head();
}

}  // namespace leadline::coordinator
