#pragma once
// Parses the small HTTP that the admin port speaks: one request, HTTP/1.0 or 1.1, Content-Length bodies only.
// Not for the API port (coordinator/http is). Pure: bytes in, outcome out; fuzzed
// (tests/fuzz/admin_request_fuzz.cpp). Thread: any.

#include <cstddef>
#include <string>
#include <string_view>

namespace leadline::monitoring {

struct AdminRequest {
  std::string method, path, query, body;
};

struct AdminParse {
  enum class State { need_more, complete, bad };
  State state = State::need_more;
  int status = 0;        // for bad: 400, 411, 413, 431, 501 or 505
  std::string reason;    // for bad, one short sentence
  AdminRequest request;  // for complete
};

// `bytes`: all received so far. Never needs more than max_bytes: then it is bad (413 or 431).
AdminParse parse_admin_request(std::string_view bytes, std::size_t max_bytes);

}  // namespace leadline::monitoring
