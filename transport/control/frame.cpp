#include "transport/control/frame.h"

#define XXH_STATIC_LINKING_ONLY  // XXH3_state_t on the stack
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "monitoring/check.h"

namespace leadline::transport {

namespace {

constexpr std::size_t kGrowBytes =
    std::size_t{64} << 10;             // a body's buffer grows with what arrives, not with what is claimed
constexpr std::uint8_t kMagic = 0x4C;  // both bytes

void put_u32(std::byte* at, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}
std::uint32_t get_u32(const std::byte* at) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= static_cast<std::uint32_t>(at[i]) << (8 * i);
  return value;
}

std::uint32_t checksum(const std::byte* head, std::span<const std::byte> body) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, head, 8);
  if (!body.empty()) XXH3_64bits_update(&state, body.data(), body.size());
  return static_cast<std::uint32_t>(XXH3_64bits_digest(&state));
}

}  // namespace

void append_frame(std::uint8_t type, std::span<const std::byte> body, std::vector<std::byte>& out) {
  LEADLINE_CHECK(type != 0 && body.size() <= UINT32_MAX, "frame type and length");
  std::byte head[kFrameHeadBytes] = {std::byte{kMagic}, std::byte{kMagic}, std::byte{kFrameVersion},
                                     std::byte{type}};
  put_u32(head + 4, static_cast<std::uint32_t>(body.size()));
  put_u32(head + 8, checksum(head, body));
  out.reserve(out.size() + sizeof head + body.size());
  out.insert(out.end(), head, head + sizeof head);
  out.insert(out.end(), body.begin(), body.end());
}

Result<std::optional<Frame>> FrameParser::fail(Errc code, std::string message) {
  broken_ = Error{code, std::move(message)};
  return tl::unexpected(*broken_);
}

Result<void> FrameParser::check_head() {
  const auto byte = [&](std::size_t i) { return std::to_integer<unsigned>(head_[i]); };
  if (byte(0) != kMagic || byte(1) != kMagic) {
    return monitoring::fail(Errc::malformed,
                            "frame magic " + std::to_string(byte(0)) + ", " + std::to_string(byte(1)));
  }
  if (byte(2) != kFrameVersion)
    return monitoring::fail(Errc::malformed, "frame version " + std::to_string(byte(2)));
  if (byte(3) == 0) return monitoring::fail(Errc::malformed, "frame type 0");
  body_wanted_ = get_u32(head_.data() + 4);
  if (body_wanted_ > max_body_bytes_) {
    return monitoring::fail(Errc::too_large, "frame of " + std::to_string(body_wanted_) + " bytes, limit " +
                                                 std::to_string(max_body_bytes_));
  }
  return {};
}

Result<std::optional<Frame>> FrameParser::take(std::span<const std::byte>& input) {
  if (broken_) return tl::unexpected(*broken_);
  if (head_filled_ < kFrameHeadBytes) {
    const std::size_t count = std::min(kFrameHeadBytes - head_filled_, input.size());
    if (count > 0) std::memcpy(head_.data() + head_filled_, input.data(), count);
    head_filled_ += count;
    input = input.subspan(count);
    if (head_filled_ < kFrameHeadBytes) return std::nullopt;
    if (auto good = check_head(); !good) return fail(good.error().code, good.error().message);
    frame_.type = std::to_integer<std::uint8_t>(head_[3]);
    frame_.body.reserve(std::min(body_wanted_, kGrowBytes));
  }
  const std::size_t count = std::min(body_wanted_ - frame_.body.size(), input.size());
  frame_.body.insert(frame_.body.end(), input.begin(), input.begin() + static_cast<std::ptrdiff_t>(count));
  input = input.subspan(count);
  if (frame_.body.size() < body_wanted_) return std::nullopt;
  if (checksum(head_.data(), frame_.body) != get_u32(head_.data() + 8)) {
    return fail(Errc::malformed, "frame checksum of a body of " + std::to_string(body_wanted_) + " bytes");
  }
  head_filled_ = 0;
  std::optional<Frame> whole(std::move(frame_));
  frame_ = Frame{};
  return whole;
}

}  // namespace leadline::transport
