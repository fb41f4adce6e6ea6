#include "transport/collective/group_door.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

namespace leadline::transport {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxToken = 256, kMaxHello = 512;
constexpr std::chrono::milliseconds kKnockLimit{2'000};  // one connection, introduction included
constexpr char kMagic[8] = {'L', 'L', 'G', 'R', 'O', 'U', 'P', '1'};

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
};

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24) == 127;
  }
  return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

Result<void> resolve(const std::string& host, std::uint16_t port, bool passive, AddressList& out) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  if (host.empty()) hints.ai_family = AF_INET;
  const int code =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &out.first);
  if (code != 0)
    return monitoring::fail(Errc::configuration, "group address " + host + ": " + ::gai_strerror(code));
  return {};
}

// rank, size, token behind the magic; numbers as 4 bytes, this machine's order (ranks are one build on one
// architecture).
std::string hello_bytes(const GroupIdentity& identity) {
  std::string bytes(kMagic, sizeof kMagic);
  const std::uint32_t numbers[2] = {static_cast<std::uint32_t>(identity.rank),
                                    static_cast<std::uint32_t>(identity.size)};
  bytes.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
  return bytes + identity.token;
}

// The rank that knocks, or why it may not come in.
Result<int> check_hello(const std::string& bytes, const GroupIdentity& own) {
  std::uint32_t numbers[2];
  if (bytes.size() < sizeof kMagic + sizeof numbers ||
      std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return monitoring::fail(Errc::malformed, "not a rank of this version");
  }
  if (!equal_constant_time(std::string_view(bytes).substr(sizeof kMagic + sizeof numbers), own.token)) {
    return monitoring::fail(Errc::refused, "wrong group token");
  }
  std::memcpy(numbers, bytes.data() + sizeof kMagic, sizeof numbers);
  if (numbers[1] != static_cast<std::uint32_t>(own.size)) {
    return monitoring::fail(
        Errc::refused, "group of " + std::to_string(own.size) + " ranks, not " + std::to_string(numbers[1]));
  }
  if (numbers[0] == 0 || numbers[0] >= numbers[1]) {
    return monitoring::fail(Errc::refused, "rank " + std::to_string(numbers[0]));
  }
  return static_cast<int>(numbers[0]);
}

int connect_until(const addrinfo& target, SteadyTime deadline) {
  const int fd = ::socket(target.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  int failure = ::connect(fd, target.ai_addr, target.ai_addrlen) == 0 ? 0 : errno;
  if (failure == EINPROGRESS) {
    pollfd entry{fd, POLLOUT, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    failure = ::poll(&entry, 1, static_cast<int>(std::max<long long>(left, 0))) > 0 ? 0 : ETIMEDOUT;
    socklen_t size = sizeof failure;
    if (failure == 0) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
  }
  if (failure == 0) return fd;
  ::close(fd);
  errno = failure;
  return -1;
}

// One attempt at one host. refused: rank 0 answered and said no.
Result<std::unique_ptr<GroupSocket>> knock_once(const std::string& host, std::uint16_t port,
                                                const GroupIdentity& identity, SteadyTime deadline) {
  AddressList list;
  if (auto found = resolve(host, port, false, list); !found) return tl::unexpected(std::move(found).error());
  std::string last = "no address";
  for (const addrinfo* target = list.first; target != nullptr; target = target->ai_next) {
    if (identity.token.empty() && !is_loopback(target->ai_addr)) {
      return monitoring::fail(Errc::configuration,
                              "group address " + host + " is not loopback: set LEADLINE_GROUP_TOKEN");
    }
    const int fd = connect_until(*target, deadline);
    if (fd < 0) {
      last = std::strerror(errno);
      continue;
    }
    auto socket = std::make_unique<GroupSocket>(fd);
    auto answer = socket->write_text(GroupFrameType::hello, hello_bytes(identity), deadline).and_then([&] {
      return socket->read_one(kMaxHello, deadline);
    });
    if (!answer) {
      last = answer.error().message;
    } else if (!answer->bytes.empty()) {
      return monitoring::fail(Errc::refused, host + ": " + answer->text());
    } else {
      return socket;
    }
  }
  return monitoring::fail(Errc::io, host + ":" + std::to_string(port) + ": " + last);
}

}  // namespace

GroupDoor::GroupDoor(int fd, std::uint16_t port, GroupIdentity identity)
    : fd_(fd), port_(port), identity_(std::move(identity)) {}
GroupDoor::~GroupDoor() {
  ::close(fd_);
}

Result<std::unique_ptr<GroupDoor>> GroupDoor::open(const std::string& host, std::uint16_t port,
                                                   const GroupIdentity& identity) {
  if (identity.token.size() > kMaxToken)
    return monitoring::fail(Errc::configuration, "group token is longer than 256");
  AddressList list;
  if (auto found = resolve(host, port, true, list); !found) return tl::unexpected(std::move(found).error());
  if (identity.token.empty() && !is_loopback(list.first->ai_addr)) {
    return monitoring::fail(Errc::configuration,
                            "group address " + host + " is not loopback: set LEADLINE_GROUP_TOKEN");
  }
  const std::string where = host + ":" + std::to_string(port);
  const int fd = ::socket(list.first->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return monitoring::fail(Errc::io, where + ": " + std::strerror(errno));
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::bind(fd, list.first->ai_addr, list.first->ai_addrlen) != 0 || ::listen(fd, 64) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    const std::string why = std::strerror(errno);
    ::close(fd);
    return monitoring::fail(Errc::io, "can't listen on " + where + ": " + why);
  }
  const std::uint16_t real = bound.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(&bound)->sin_port
                                                        : reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port;
  return std::unique_ptr<GroupDoor>(new GroupDoor(fd, ntohs(real), identity));
}

void GroupDoor::admit_one(int lowest, std::vector<std::unique_ptr<GroupSocket>>& sockets,
                          SteadyTime deadline) {
  const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  auto socket = std::make_unique<GroupSocket>(fd);
  deadline = std::min(deadline, Clock::now() + kKnockLimit);
  auto hello = socket->read_one(kMaxHello, deadline);
  if (!hello || hello->type != GroupFrameType::hello) return;
  auto rank = check_hello(hello->text(), identity_);
  std::string verdict = rank ? "" : rank.error().message;
  if (rank && *rank < lowest) verdict = "rank " + std::to_string(*rank) + " does not call here";
  // A rank whose first call was answered too late for it has hung up and calls again.
  if (rank && verdict.empty() && sockets[*rank] != nullptr && !sockets[*rank]->closed_by_peer())
    verdict = "rank " + std::to_string(*rank) + " is here already";
  if (auto sent = socket->write_text(GroupFrameType::ready, verdict, deadline); sent && verdict.empty()) {
    sockets[*rank] = std::move(socket);
  }
}

Result<void> GroupDoor::admit(int lowest, std::vector<std::unique_ptr<GroupSocket>>& sockets,
                              SteadyTime deadline) {
  for (;;) {
    std::string missing;
    for (int rank = lowest; rank < identity_.size; ++rank)
      if (sockets[rank] == nullptr) missing += " " + std::to_string(rank);
    if (missing.empty()) return {};
    if (!wait_readable(fd_, deadline))
      return monitoring::fail(Errc::timeout, "ranks that did not come:" + missing);
    admit_one(lowest, sockets, deadline);
  }
}

Result<std::unique_ptr<GroupLink>> GroupDoor::admit_all(SteadyTime deadline,
                                                        std::chrono::milliseconds stall_limit) {
  std::vector<std::unique_ptr<GroupSocket>> sockets(identity_.size);
  if (auto come = admit(1, sockets, deadline); !come) return tl::unexpected(std::move(come).error());
  sockets.erase(sockets.begin());
  return std::make_unique<GroupLink>(0, identity_.size, std::move(sockets), stall_limit);
}

Result<std::unique_ptr<GroupSocket>> GroupDoor::call(const std::vector<std::string>& hosts,
                                                     std::uint16_t port, const GroupIdentity& identity,
                                                     SteadyTime deadline) {
  std::string last = "no address";
  auto pause = std::chrono::milliseconds(10);
  for (;;) {
    for (const std::string& host : hosts) {
      auto socket = knock_once(host, port, identity, std::min(deadline, Clock::now() + kKnockLimit));
      if (socket) return socket;
      if (socket.error().code == Errc::configuration && hosts.size() == 1 && identity.token.empty())
        return socket;
      // A refusal may come from a group that is just leaving the same port: try again until the deadline.
      last = socket.error().message;
    }
    if (Clock::now() + pause >= deadline) return monitoring::fail(Errc::timeout, "does not answer: " + last);
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(500));
  }
}

Result<std::unique_ptr<GroupLink>> GroupDoor::knock(const std::vector<std::string>& hosts, std::uint16_t port,
                                                    const GroupIdentity& identity, SteadyTime deadline,
                                                    std::chrono::milliseconds stall_limit) {
  auto socket = call(hosts, port, identity, deadline);
  if (!socket && socket.error().code == Errc::timeout)
    return monitoring::fail(Errc::timeout, "rank 0 " + socket.error().message);
  if (!socket) return tl::unexpected(std::move(socket).error());
  std::vector<std::unique_ptr<GroupSocket>> one;
  one.push_back(std::move(*socket));
  return std::make_unique<GroupLink>(identity.rank, identity.size, std::move(one), stall_limit);
}

std::vector<std::string> reachable_addresses(const std::string& interface) {
  std::vector<std::string> v4, v6;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return {};
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    if (interface.empty() ? (entry->ifa_flags & IFF_LOOPBACK) != 0 : interface != entry->ifa_name) continue;
    char text[INET6_ADDRSTRLEN];
    if (entry->ifa_addr->sa_family == AF_INET) {
      ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text,
                  sizeof text);
      v4.emplace_back(text);
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      const auto& address = reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&address)) continue;
      ::inet_ntop(AF_INET6, &address, text, sizeof text);
      v6.emplace_back(text);
    }
  }
  ::freeifaddrs(first);
  v4.insert(v4.end(), v6.begin(), v6.end());
  return v4;
}

}  // namespace leadline::transport
