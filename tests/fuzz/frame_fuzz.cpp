// Control protocol: the first byte says in what pieces the rest arrives; each whole frame is decoded. Laws:
// pieces do not matter, and what decodes encodes again to the same message. A checksum stops most mutations,
// so bodies are decoded without one, too.
#include <cstdint>
#include <span>
#include <vector>

#include "monitoring/check.h"
#include "transport/control/codec.h"
#include "transport/control/frame.h"

namespace {

using namespace leadline::transport;

void decode_and_return(std::uint8_t type, std::span<const std::byte> body) {
  auto message = decode(type, body);
  if (!message) return;
  std::vector<std::byte> frame;
  auto again = encode(*message, frame);
  LEADLINE_CHECK(again.has_value(), "what decodes can be encoded");
  auto back = decode(type, std::span(frame).subspan(kFrameHeadBytes));
  LEADLINE_CHECK(back && *back == *message, "what decodes round-trips");
}

std::vector<Frame> parse(std::span<const std::byte> stream, std::size_t piece, bool& broken) {
  FrameParser parser(1 << 20);
  std::vector<Frame> frames;
  for (std::size_t at = 0; at < stream.size(); at += piece) {
    auto input = stream.subspan(at, std::min(piece, stream.size() - at));
    while (!input.empty()) {
      auto frame = parser.take(input);
      broken = !frame;
      if (broken) return frames;
      if (*frame) frames.push_back(std::move(**frame));
    }
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (bytes.empty()) return 0;
  bool whole_broken = false, pieces_broken = false;
  const auto frames = parse(bytes, bytes.size(), whole_broken);
  LEADLINE_CHECK(
      frames == parse(bytes, 1 + data[size - 1] % 32, pieces_broken) && whole_broken == pieces_broken,
      "pieces do not matter");
  for (const Frame& frame : frames) decode_and_return(frame.type, frame.body);
  if (size > kFrameHeadBytes) {
    decode_and_return(static_cast<std::uint8_t>(1 + data[3] % 12), bytes.subspan(kFrameHeadBytes));
  }
  return 0;
}
