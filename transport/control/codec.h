#pragma once
// Codec: messages of the control protocol <-> bytes (protobuf inside a frame). Not a parser of streams
// (frame) and no I/O. Protobuf stays in the .cpp. Golden bytes: tests/golden/wire_frames; the page:
// docs/formats/wire.md. Thread: pure functions. Invariants: encode(decode(x)) == x for what a peer of this
// version sends; whatever decode returns keeps every limit below and every range in messages.h; reasons and
// phases that this version lacks decode as `unknown`, unknown fields are ignored.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/control/messages.h"
#include "transport/errc.h"

namespace leadline::transport {

// Limits of every field that can grow. Beyond them: too_large, naming field and value, on both sides.
struct CodecLimits {
  static constexpr std::size_t kPromptTokens = std::size_t{1} << 20;  // prompt and generated, each
  static constexpr std::size_t kLogitBias = 65'536;
  static constexpr std::size_t kStopTokenIds = 4'096;
  static constexpr std::size_t kBannedIds = 65'536;
  static constexpr std::size_t kMethodNameBytes = 64;
  static constexpr std::size_t kBatchTokens = 8'192;  // of one TokenBatch: send longer ones in parts
  static constexpr std::size_t kTopLogprobs = 20;
  static constexpr std::size_t kTraceIdBytes = 256;
  static constexpr std::size_t kTextBytes = 4'096;  // names, fingerprints, reasons, messages
  static constexpr std::size_t kTokenBatchBytes = std::size_t{4} << 20;
  static constexpr std::size_t kFrameBytes = std::size_t{16} << 20;  // body of one frame
};

// The frame's type byte: the message's index in the Message variant plus one. Never renumber.
std::uint8_t type_of(const Message& message);

// Appends one whole frame (transport/control/frame.h) to `out`. too_large: nothing was appended.
Result<void> encode(const Message& message, std::vector<std::byte>& out);

// A frame's type and body. malformed: not this protocol's (names field and value); too_large: beyond a limit.
Result<Message> decode(std::uint8_t type, std::span<const std::byte> body);

}  // namespace leadline::transport
