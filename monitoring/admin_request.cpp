#include "monitoring/admin_request.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace leadline::monitoring {
namespace {

AdminParse bad(int status, std::string reason) {
  AdminParse parse;
  parse.state = AdminParse::State::bad;
  parse.status = status;
  parse.reason = std::move(reason);
  return parse;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool iequals(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// GET /path?query HTTP/1.1
std::optional<AdminParse> parse_request_line(std::string_view line, AdminRequest& request) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return bad(400, "malformed request line");
  const std::string_view method = line.substr(0, first), target = line.substr(first + 1, last - first - 1),
                         version = line.substr(last + 1);
  if (!is_token(method) || target.empty() || target.front() != '/') return bad(400, "malformed request line");
  for (unsigned char c : target) {
    if (c <= 0x20 || c >= 0x7f) return bad(400, "malformed request target");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return bad(505, "HTTP version not supported");
  request.method = method;
  const auto mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
  return std::nullopt;
}

struct Headers {
  std::optional<std::size_t> content_length;
  bool chunked = false;
};

std::optional<AdminParse> parse_header(std::string_view line, Headers& headers) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
    return bad(400, "malformed header");
  const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
  if (iequals(name, "transfer-encoding")) headers.chunked = true;
  if (iequals(name, "content-length")) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error != std::errc() || end != value.data() + value.size())
      return bad(400, "malformed Content-Length");
    if (headers.content_length && *headers.content_length != length) return bad(400, "two Content-Lengths");
    headers.content_length = length;
  }
  return std::nullopt;
}

}  // namespace

AdminParse parse_admin_request(std::string_view bytes, std::size_t max_bytes) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) {
    return bytes.size() >= max_bytes ? bad(431, "request header too large") : AdminParse{};
  }
  AdminParse parse;
  Headers headers;
  std::string_view head = bytes.substr(0, end);
  const auto line_end = std::min(head.find("\r\n"), head.size());
  if (auto failed = parse_request_line(head.substr(0, line_end), parse.request)) return *failed;
  head.remove_prefix(std::min(head.size(), line_end + 2));
  while (!head.empty()) {
    const auto next = std::min(head.find("\r\n"), head.size());
    if (auto failed = parse_header(head.substr(0, next), headers)) return *failed;
    head.remove_prefix(std::min(head.size(), next + 2));
  }
  if (headers.chunked) return bad(501, "Transfer-Encoding is not accepted here");
  const std::size_t body_bytes = headers.content_length.value_or(0);
  if (parse.request.method == "POST" && !headers.content_length) return bad(411, "Content-Length is needed");
  const std::size_t body_at = end + 4;
  if (body_at > max_bytes || body_bytes > max_bytes - body_at) return bad(413, "request too large");
  if (bytes.size() - body_at < body_bytes) return parse.request = {}, parse;
  parse.request.body = bytes.substr(body_at, body_bytes);
  parse.state = AdminParse::State::complete;
  return parse;
}

}  // namespace leadline::monitoring
