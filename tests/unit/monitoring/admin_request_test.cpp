#include "monitoring/admin_request.h"

#include <gtest/gtest.h>

namespace leadline::monitoring {
namespace {

using State = AdminParse::State;
constexpr std::size_t kMax = 1024;

TEST(AdminRequest, ParsesPathQueryAndBody) {
  const auto parse = parse_admin_request(
      "POST /admin/drain?now=1 HTTP/1.1\r\nhost: a\r\nCONTENT-length: 3\r\n\r\nabcdef", kMax);
  ASSERT_EQ(parse.state, State::complete);
  EXPECT_EQ(parse.request.method, "POST");
  EXPECT_EQ(parse.request.path, "/admin/drain");
  EXPECT_EQ(parse.request.query, "now=1");
  EXPECT_EQ(parse.request.body, "abc");
}

TEST(AdminRequest, EveryPrefixOfAWholeRequestNeedsMore) {
  const std::string whole = "POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_EQ(parse_admin_request(whole.substr(0, n), kMax).state, State::need_more) << n;
  }
  EXPECT_EQ(parse_admin_request(whole, kMax).state, State::complete);
}

struct BadCase {
  std::string bytes;
  int status;
};
class AdminRequestBad : public testing::TestWithParam<BadCase> {};

TEST_P(AdminRequestBad, IsRefused) {
  const auto parse = parse_admin_request(GetParam().bytes, kMax);
  ASSERT_EQ(parse.state, State::bad);
  EXPECT_EQ(parse.status, GetParam().status);
  EXPECT_FALSE(parse.reason.empty());
}

const std::string kPost = "POST / HTTP/1.1\r\n";
INSTANTIATE_TEST_SUITE_P(
    Cases, AdminRequestBad,
    testing::Values(BadCase{"nonsense\r\n\r\n", 400}, BadCase{"GET  HTTP/1.1\r\n\r\n", 400},
                    BadCase{"GET http://x/ HTTP/1.1\r\n\r\n", 400}, BadCase{"GET /a b HTTP/1.1\r\n\r\n", 400},
                    BadCase{"G(T / HTTP/1.1\r\n\r\n", 400}, BadCase{"GET / HTTP/2.0\r\n\r\n", 505},
                    BadCase{"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
                    BadCase{"GET / HTTP/1.1\r\nbad name: x\r\n\r\n", 400},
                    BadCase{kPost + "Content-Length: -1\r\n\r\n", 400},
                    BadCase{kPost + "Content-Length: 1x\r\n\r\n", 400},
                    BadCase{kPost + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
                    BadCase{kPost + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
                    BadCase{kPost + "Content-Length: 18446744073709551615\r\n\r\n", 413},
                    BadCase{kPost + "Transfer-Encoding: chunked\r\n\r\n", 501}, BadCase{kPost + "\r\n", 411},
                    BadCase{"GET / HTTP/1.1\r\nx: " + std::string(2000, 'a'), 431}),
    [](const auto& info) { return "Case" + std::to_string(info.index); });

}  // namespace
}  // namespace leadline::monitoring
