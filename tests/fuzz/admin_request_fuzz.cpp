// Admin requests from the wire: no input may read past its end, and an accepted one is within its bounds.
#include "monitoring/admin_request.h"

#include <cstdint>

#include "monitoring/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMax = 4096;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto parse = leadline::monitoring::parse_admin_request(bytes, kMax);
  using State = leadline::monitoring::AdminParse::State;
  if (parse.state == State::complete) {
    LEADLINE_CHECK(parse.request.body.size() <= kMax, "the body is bounded");
    LEADLINE_CHECK(parse.request.path.starts_with('/'), "the path is absolute");
  }
  LEADLINE_CHECK(parse.state != State::bad || parse.status >= 400, "a refusal has its status");
  LEADLINE_CHECK(parse.state != State::need_more || size < 2 * kMax, "waiting ends");
  return 0;
}
