// Bytes as a client's stream, cut at places that the first byte chooses: never a crash, bounded memory, and
// the same requests however the bytes are cut.

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/http/request_reader.h"
#include "monitoring/check.h"

using namespace leadline::coordinator;

namespace {

std::vector<std::string> requests_of(std::string_view bytes, std::size_t piece, const Limits& limits) {
  RequestReader reader(limits);
  std::vector<std::string> out;
  while (!bytes.empty()) {
    reader.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    for (bool more = true; more;) {
      more = false;
      if (reader.state() == ReadState::head_done) reader.read_body();
      if (reader.state() == ReadState::complete) {
        out.push_back(reader.request().method + " " + reader.request().path + " " + reader.request().body);
        reader.next();
        more = true;
      } else if (reader.state() == ReadState::head_done) {
        more = true;
      }
    }
    LEADLINE_CHECK(reader.buffered_bytes() <= limits.header_bytes + piece + 64, "buffered more than a head");
    if (reader.state() == ReadState::failed) {
      LEADLINE_CHECK(reader.failure().status >= 400 && !reader.failure().message.empty(),
                     "a failure without words");
      out.push_back("failed");
      break;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Limits limits;
  limits.header_bytes = 1024;
  limits.body_bytes = 4096;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = requests_of(bytes, bytes.size() + 1, limits);
  const auto pieces = requests_of(bytes, 1 + data[0] % 37, limits);
  std::size_t i = 0;  // which limit is named may depend on the cut; the requests before it may not
  for (; i < whole.size() && i < pieces.size() && whole[i] != "failed" && pieces[i] != "failed"; ++i) {
    LEADLINE_CHECK(whole[i] == pieces[i], "another request for another cut");
  }
  return 0;
}
