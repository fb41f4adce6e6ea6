// Replies of a Redis server: any bytes, in pieces of the last byte's size. Laws: pieces do not matter,
// replies are bounded, and a reader that failed gives nothing more.
#include <cstdint>
#include <span>

#include "kvstore/resp_reader.h"
#include "monitoring/check.h"

namespace {

using leadline::kvstore::RespReader;
using leadline::kvstore::RespReply;

std::vector<RespReply> read_all(std::span<const std::byte> bytes, std::size_t piece, bool& failed) {
  RespReader reader;
  std::vector<RespReply> replies;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(bytes.subspan(at, std::min(piece, bytes.size() - at)));
    while (auto reply = reader.take()) replies.push_back(std::move(*reply));
  }
  failed = reader.failed();
  return replies;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  bool whole_failed = false, pieces_failed = false;
  const auto whole = read_all(bytes, size, whole_failed);
  const auto pieces = read_all(bytes, 1 + data[size - 1] % 16, pieces_failed);
  LEADLINE_CHECK(whole == pieces && whole_failed == pieces_failed, "pieces do not matter");
  return 0;
}
