#include "transport/collective/group_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace leadline::transport {

namespace {

using Clock = std::chrono::steady_clock;

int remaining_ms(SteadyTime deadline, int at_most) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left + 1, 0, at_most));
}

std::string error_text(int number) {
  return std::strerror(number);
}

}  // namespace

bool wait_readable(int fd, SteadyTime deadline) {
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, remaining_ms(deadline, 60'000));
    if (ready > 0) return true;
    if (Clock::now() >= deadline) return false;
  }
}

GroupSocket::GroupSocket(int fd) : fd_(fd) {
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

GroupSocket::~GroupSocket() {
  ::close(fd_);
}

std::string GroupSocket::local_host() const {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  char text[INET6_ADDRSTRLEN] = "";
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size) != 0) return "";
  const void* address = own.ss_family == AF_INET
                            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(&own)->sin_addr)
                            : &reinterpret_cast<sockaddr_in6*>(&own)->sin6_addr;
  return ::inet_ntop(own.ss_family, address, text, sizeof text) == nullptr ? "" : text;
}

void GroupSocket::set_silence_limit(std::chrono::milliseconds limit) {
  const int on = 1, user_timeout_ms = static_cast<int>(limit.count());
  // Five probes, spread over the limit; at least a second apart.
  const int interval_s = std::max(1, static_cast<int>(limit.count() / 1000 / 6)), probes = 5;
  ::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPIDLE, &interval_s, sizeof interval_s);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

Result<void> GroupSocket::write(GroupFrameType type, std::span<const std::byte> bytes, SteadyTime deadline,
                                bool (*stop)(void*), void* context) {
  std::unique_lock lock(write_mutex_, deadline);
  if (!lock.owns_lock()) return monitoring::fail(Errc::timeout, "another frame is still being sent");
  const std::uint32_t header[2] = {static_cast<std::uint32_t>(type),
                                   static_cast<std::uint32_t>(bytes.size())};
  const auto* head = reinterpret_cast<const std::byte*>(header);
  std::size_t sent = 0;
  const std::size_t total = sizeof header + bytes.size();
  while (sent < total) {
    const bool in_header = sent < sizeof header;
    const std::byte* from = in_header ? head + sent : bytes.data() + (sent - sizeof header);
    const std::size_t count = in_header ? sizeof header - sent : total - sent;
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (in_header && !bytes.empty() ? MSG_MORE : 0);
    const ssize_t n = ::send(fd_, from, count, flags);
    if (n > 0) {
      sent += static_cast<std::size_t>(n);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      return monitoring::fail(errno == EPIPE || errno == ECONNRESET ? Errc::closed : Errc::io,
                              error_text(errno));
    }
    if (Clock::now() >= deadline || (stop != nullptr && stop(context))) {
      if (sent > 0) shut_down();  // half a frame can't be taken back
      return monitoring::fail(Errc::timeout, "the peer does not read");
    }
    pollfd entry{fd_, POLLOUT, 0};
    ::poll(&entry, 1, remaining_ms(deadline, 100));
  }
  return {};
}

Result<void> GroupSocket::write_text(GroupFrameType type, std::string_view text, SteadyTime deadline) {
  return write(type, std::as_bytes(std::span(text.data(), text.size())), deadline);
}

Result<bool> GroupSocket::read_step(std::vector<GroupFrame>& out, std::size_t max_bytes) {
  const bool in_header = header_filled_ < sizeof header_;
  std::byte* into = in_header ? header_ + header_filled_ : partial_.bytes.data() + body_filled_;
  const std::size_t want = in_header ? sizeof header_ - header_filled_ : partial_.bytes.size() - body_filled_;
  if (want > 0) {
    const ssize_t n = ::recv(fd_, into, want, MSG_DONTWAIT);
    if (n == 0) return monitoring::fail(Errc::closed, "connection closed");
    if (n < 0) {
      if (errno == EINTR) return true;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
      return monitoring::fail(Errc::closed, error_text(errno));
    }
    (in_header ? header_filled_ : body_filled_) += static_cast<std::size_t>(n);
  }
  if (in_header && header_filled_ == sizeof header_) {
    std::uint32_t fields[2];
    std::memcpy(fields, header_, sizeof fields);
    if (fields[0] < 1 || fields[0] > 5) {
      return monitoring::fail(Errc::malformed, "group frame type " + std::to_string(fields[0]));
    }
    if (fields[1] > max_bytes) {
      return monitoring::fail(Errc::too_large, "group frame of " + std::to_string(fields[1]) + " bytes");
    }
    partial_.type = static_cast<GroupFrameType>(fields[0]);
    partial_.bytes.resize(fields[1]);
    body_filled_ = 0;
  }
  if (header_filled_ == sizeof header_ && body_filled_ == partial_.bytes.size()) {
    out.push_back(std::move(partial_));
    partial_ = {};
    header_filled_ = body_filled_ = 0;
  }
  return true;
}

Result<void> GroupSocket::read_available(std::vector<GroupFrame>& out, std::size_t max_bytes) {
  for (;;) {
    auto more = read_step(out, max_bytes);
    if (!more) return tl::unexpected(std::move(more).error());
    if (!*more) return {};
  }
}

Result<GroupFrame> GroupSocket::read_one(std::size_t max_bytes, SteadyTime deadline) {
  std::vector<GroupFrame> frames;
  for (;;) {
    auto more = read_step(frames, max_bytes);
    if (!more) return tl::unexpected(std::move(more).error());
    if (!frames.empty()) return std::move(frames.front());
    if (!*more && !wait_readable(fd_, deadline)) return monitoring::fail(Errc::timeout, "no answer in time");
  }
}

bool GroupSocket::closed_by_peer() const {
  std::byte one;
  const ssize_t n = ::recv(fd_, &one, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void GroupSocket::shut_down_sending() {
  ::shutdown(fd_, SHUT_WR);
}
void GroupSocket::shut_down() {
  ::shutdown(fd_, SHUT_RDWR);
}

}  // namespace leadline::transport
