#include "coordinator/http/head_check.h"

#include <algorithm>

namespace leadline::coordinator {

namespace {

bool is_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool has_control(std::string_view text, bool allow_tab) {
  return std::any_of(text.begin(), text.end(), [&](char c) {
    const auto u = static_cast<unsigned char>(c);
    return (u < 0x20 && !(allow_tab && c == '\t')) || u == 0x7F;
  });
}

struct Counts {
  int hosts = 0, lengths = 0, encodings = 0, fields = 0;
};

std::optional<HeadFault> check_length(std::string_view value) {
  if (value.empty() || value.size() > 18 ||
      !std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return HeadFault{400, "Content-Length is not a decimal number"};
  }
  return std::nullopt;
}

std::optional<HeadFault> check_field(std::string_view line, Counts& counts) {
  if (line.front() == ' ' || line.front() == '\t')
    return HeadFault{400, "folded header lines are not accepted"};
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return HeadFault{400, "a header line has no colon"};
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name)) return HeadFault{400, "a header name has a character that is not allowed"};
  const std::string_view value = trim_blanks(line.substr(colon + 1));
  if (has_control(value, true))
    return HeadFault{400, "header " + lower_case(name) + " has a control character"};
  ++counts.fields;
  if (equals_ignoring_case(name, "host")) {
    ++counts.hosts;
    if (value.find_first_of(" ,/?#@\\") != std::string_view::npos)
      return HeadFault{400, "Host is not a valid authority"};
  }
  if (equals_ignoring_case(name, "content-length")) {
    ++counts.lengths;
    return check_length(value);
  }
  if (equals_ignoring_case(name, "transfer-encoding")) {
    ++counts.encodings;
    if (!equals_ignoring_case(value, "chunked"))
      return HeadFault{501, "the only Transfer-Encoding accepted is chunked"};
  }
  if (equals_ignoring_case(name, "expect") && !equals_ignoring_case(value, "100-continue")) {
    return HeadFault{417, "the only Expect accepted is 100-continue"};
  }
  if (equals_ignoring_case(name, "upgrade") && equals_ignoring_case(value, "h2c"))
    return std::nullopt;  // ignored
  return std::nullopt;
}

std::optional<HeadFault> check_request_line(std::string_view line, const Limits& limits, bool& http11) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return HeadFault{400, "the request line has not three parts"};
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method) || method.size() > 32) return HeadFault{400, "the method is not a token"};
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    if (version.starts_with("HTTP/")) return HeadFault{505, "only HTTP/1.1 and HTTP/1.0 are served"};
    return HeadFault{400, "the request line names no HTTP version"};
  }
  http11 = version == "HTTP/1.1";
  if (target.size() > limits.target_bytes)
    return HeadFault{414, "the request target is longer than the limit"};
  if (target.empty() || has_control(target, false) || target.find(' ') != std::string_view::npos) {
    return HeadFault{400, "the request target has a character that is not allowed"};
  }
  return std::nullopt;
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && lower_case(a) == lower_case(b);
}

std::optional<HeadFault> check_head(std::string_view head, const Limits& limits) {
  Counts counts;
  bool http11 = true, first = true;
  while (!head.empty()) {
    const std::size_t end = head.find('\n');
    if (end == std::string_view::npos) return HeadFault{400, "a header line does not end"};
    if (end == 0 || head[end - 1] != '\r') return HeadFault{400, "header lines must end in CR LF"};
    const std::string_view line = head.substr(0, end - 1);
    head.remove_prefix(end + 1);
    if (line.find('\r') != std::string_view::npos || line.find('\0') != std::string_view::npos) {
      return HeadFault{400, "a header line has a bare CR or a NUL"};
    }
    std::optional<HeadFault> fault;
    if (first) {
      fault = check_request_line(line, limits, http11);
      first = false;
    } else if (!line.empty()) {
      fault = check_field(line, counts);
    }
    if (fault) return fault;
    if (static_cast<std::size_t>(counts.fields) > limits.header_fields)
      return HeadFault{431, "too many header fields"};
  }
  if (counts.hosts > 1) return HeadFault{400, "more than one Host header"};
  if (http11 && counts.hosts == 0) return HeadFault{400, "the Host header is missing"};
  if (counts.lengths > 1) return HeadFault{400, "more than one Content-Length header"};
  if (counts.encodings > 1) return HeadFault{400, "more than one Transfer-Encoding header"};
  if (counts.lengths > 0 && counts.encodings > 0)
    return HeadFault{400, "both Content-Length and Transfer-Encoding"};
  if (!http11 && counts.encodings > 0) return HeadFault{400, "Transfer-Encoding in an HTTP/1.0 request"};
  return std::nullopt;
}

std::optional<std::string> percent_decode(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = digit(text[i + 1]), low = digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return std::nullopt;
    out.push_back(c);
  }
  return out;
}

}  // namespace leadline::coordinator
