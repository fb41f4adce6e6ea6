#pragma once
// RespReader: replies of a Redis server from bytes in any pieces, over hiredis's reader, bounded: the server
// may be broken or somebody else's. Not a connection. Thread: one. Invariant: it holds at most kMaxReplyBytes
// of input that is not yet a whole reply, and a reply has at most kMaxElements elements; beyond that it has
// failed for good.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace leadline::kvstore {

struct RespReply {
  enum class Kind : std::uint8_t { nil, status, error, integer, text, array };
  Kind kind = Kind::nil;
  std::int64_t integer = 0;
  std::string text;  // status, error, text
  std::vector<RespReply> elements;
  friend bool operator==(const RespReply&, const RespReply&) = default;
};

class RespReader {
 public:
  static constexpr std::size_t kMaxReplyBytes = (std::size_t{64} << 20) + 4096;
  static constexpr int kMaxElements = 1024;

  RespReader();
  ~RespReader();
  RespReader(RespReader&&) noexcept;
  RespReader& operator=(RespReader&&) noexcept;

  void feed(std::span<const std::byte> bytes);
  [[nodiscard]] std::optional<RespReply> take();  // none: not whole yet, or failed
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  struct Free {
    void operator()(void* reader) const;
  };
  std::unique_ptr<void, Free> reader_;
  std::size_t pending_ = 0;  // bytes since the last whole reply
  bool failed_ = false;
};

}  // namespace leadline::kvstore
