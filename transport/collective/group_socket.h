#pragma once
// GroupSocket: one TCP connection of the group's star with its frames (type, length, bytes), read
// incrementally and written whole under a deadline. Not asynchronous machinery: poll() and non-blocking
// calls. Thread: reading belongs to one thread; writes are serialised inside and may come from any thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/errc.h"

namespace leadline::transport {

using SteadyTime = std::chrono::steady_clock::time_point;

enum class GroupFrameType : std::uint32_t {
  hello = 1,  // a rank introduces itself to rank 0
  ready = 2,  // answer; empty = agreed, else the reason of refusal
  plan = 3,
  fail = 4,  // the group is dead: the reason
  bye = 5,   // a rank leaves in good order
};

struct GroupFrame {
  GroupFrameType type;
  std::vector<std::byte> bytes;
  [[nodiscard]] std::string text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

class GroupSocket {
 public:
  explicit GroupSocket(int fd);  // takes the descriptor
  ~GroupSocket();
  GroupSocket(const GroupSocket&) = delete;
  GroupSocket& operator=(const GroupSocket&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::string local_host() const;  // this end's address, a literal
  // Packets that go unanswered for this long end the connection (TCP keep-alive and user timeout).
  void set_silence_limit(std::chrono::milliseconds limit);

  // Sends one whole frame. timeout: the deadline passed (part may be sent: the connection is shut down);
  // closed; io. `stop` (may be null) is asked every 100 ms while waiting; true ends the wait as if the
  // deadline had passed.
  Result<void> write(GroupFrameType type, std::span<const std::byte> bytes, SteadyTime deadline,
                     bool (*stop)(void*) = nullptr, void* context = nullptr);
  Result<void> write_text(GroupFrameType type, std::string_view text, SteadyTime deadline);

  // Takes what has arrived, without waiting; appends whole frames to `out`, at most one buffer's worth per
  // call. closed: the peer ended the connection. malformed, too_large: a frame beyond max_bytes.
  Result<void> read_available(std::vector<GroupFrame>& out, std::size_t max_bytes);
  // Waits for one frame. timeout past the deadline.
  Result<GroupFrame> read_one(std::size_t max_bytes, SteadyTime deadline);

  [[nodiscard]] bool closed_by_peer() const;  // and nothing of it is left to read
  void shut_down_sending();
  void shut_down();  // both ways; wakes a reader

 private:
  int fd_;
  std::timed_mutex write_mutex_;  // one frame at a time
  // Owned by the reading thread:
  std::byte header_[8];
  std::size_t header_filled_ = 0;
  GroupFrame partial_{};
  std::size_t body_filled_ = 0;
  Result<bool> read_step(std::vector<GroupFrame>& out,
                         std::size_t max_bytes);  // false: nothing more has arrived
};

// Waits until fd is readable or the deadline; false = deadline.
bool wait_readable(int fd, SteadyTime deadline);

}  // namespace leadline::transport
