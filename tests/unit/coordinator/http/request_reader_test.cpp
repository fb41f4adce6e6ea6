#include "coordinator/http/request_reader.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

class RequestReaderTest : public ::testing::Test {
 protected:
  // The status of the failure, or 0 after a whole request, or -1 when more bytes are wanted.
  int feed(std::string_view bytes) {
    RequestReader reader(limits);
    reader.feed(bytes);
    if (reader.state() == ReadState::head_done) reader.read_body();
    if (reader.state() == ReadState::failed) return reader.failure().status;
    return reader.state() == ReadState::complete ? 0 : -1;
  }
  Limits limits;
};

TEST_F(RequestReaderTest, ReadsARequestByteByByte) {
  const std::string_view bytes =
      "\r\nPOST /a%20b?q=1 HTTP/1.1\r\nHost: x\r\nX-A:  v \r\nContent-Length: 3\r\n\r\nabcGET / "
      "HTTP/1.1\r\nHost: y\r\n\r\n";
  RequestReader reader(limits);
  std::size_t i = 0;
  for (; i < bytes.size() && reader.state() != ReadState::complete; ++i) {
    reader.feed(bytes.substr(i, 1));
    if (reader.state() == ReadState::head_done) reader.read_body();
  }
  EXPECT_EQ(reader.request().method, "POST");
  EXPECT_EQ(reader.request().path, "/a b");
  EXPECT_EQ(reader.request().query, "q=1");
  EXPECT_EQ(reader.request().header("x-a"), "v");
  EXPECT_EQ(reader.request().body, "abc");
  EXPECT_TRUE(reader.request().keep_alive);
  reader.feed(bytes.substr(i));
  EXPECT_EQ(reader.state(), ReadState::complete);  // the second request waits
  EXPECT_EQ(reader.next(), ReadState::head_done);
  EXPECT_EQ(reader.request().path, "/");
}

TEST_F(RequestReaderTest, Chunked) {
  RequestReader reader(limits);
  reader.feed("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3;n=v\r\nabc\r\n2\r\n");
  EXPECT_EQ(reader.read_body(), ReadState::body);
  EXPECT_EQ(reader.feed("de\r\n0\r\nTrailer: 1\r\n\r\n"), ReadState::complete);
  EXPECT_EQ(reader.request().body, "abcde");
  EXPECT_TRUE(reader.request().header("trailer").empty());
}

TEST_F(RequestReaderTest, Table) {
  limits.header_bytes = 500;
  limits.body_bytes = 10;
  limits.target_bytes = 40;
  limits.header_fields = 5;
  const struct {
    std::string bytes;
    int status;
  } cases[] = {
      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"GET / HTTP/1.0\r\n\r\n", 0},
      {"GET http://host/path HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789", 0},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
      {"GET / HTTP/1.1\nHost: x\n\n", 400},
      {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"GET /%0 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /" + std::string(60, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(600, 'a'), 431},
      {"GET /" + std::string(600, 'a'), 414},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n\r\n", 431},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", 417},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(600, 'a'), 431},
      {"GET / HTTP/1.1\r\nHost:", -1},
  };
  for (const auto& c : cases) EXPECT_EQ(feed(c.bytes), c.status) << c.bytes.substr(0, 90);
}

TEST_F(RequestReaderTest, PipelinedBytesAreBoundedByNotReadingOn) {
  limits.header_bytes = 100;
  RequestReader reader(limits);
  reader.feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  reader.read_body();
  EXPECT_TRUE(reader.wants_bytes());
  reader.feed(std::string(200, 'G'));
  EXPECT_FALSE(reader.wants_bytes());
}

}  // namespace
}  // namespace leadline::coordinator
