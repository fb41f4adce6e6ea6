#pragma once
// Frame: how messages lie in the byte stream: a 12-byte head (magic, version, type, length, checksum), then
// the body. Not what a body means (codec). FrameParser takes bytes as they come and gives whole frames; it
// never holds more than one frame.
//
//   offset 0  u16  magic 0x4C4C ("LL")       all numbers little-endian
//          2  u8   frame version, 1
//          3  u8   type, 1 to 255 (codec)
//          4  u32  length of the body, at most the limit
//          8  u32  checksum: low half of XXH3-64 over bytes 0 to 7 and the body
//         12       body
// Thread: one owner per parser. Invariant: after an error the parser gives that error for ever (the stream
// has lost its step).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/errc.h"

namespace leadline::transport {

inline constexpr std::size_t kFrameHeadBytes = 12;
inline constexpr std::uint8_t kFrameVersion = 1;

struct Frame {
  std::uint8_t type = 0;
  std::vector<std::byte> body;
  friend bool operator==(const Frame&, const Frame&) = default;
};

// Appends a frame. REQUIRES: type != 0, body.size() < 4 GiB.
void append_frame(std::uint8_t type, std::span<const std::byte> body, std::vector<std::byte>& out);

class FrameParser {
 public:
  explicit FrameParser(std::size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // Takes bytes from the front of `input` (which shrinks) until a frame is whole or the input is empty.
  // nullopt: more bytes are needed. malformed: magic, version, type or checksum; too_large: the length.
  Result<std::optional<Frame>> take(std::span<const std::byte>& input);

  // For frames that begin later.
  void set_max_body_bytes(std::size_t bytes) { max_body_bytes_ = bytes; }
  // A frame has begun and is not whole: the end of the stream now would be a cut.
  [[nodiscard]] bool inside_frame() const { return head_filled_ > 0; }

 private:
  Result<void> check_head();
  Result<std::optional<Frame>> fail(Errc code, std::string message);

  std::size_t max_body_bytes_;
  std::array<std::byte, kFrameHeadBytes> head_{};
  std::size_t head_filled_ = 0;
  std::size_t body_wanted_ = 0;
  Frame frame_;
  std::optional<Error> broken_;
};

}  // namespace leadline::transport
