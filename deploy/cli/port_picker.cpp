#include "deploy/cli/port_picker.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

namespace leadline::deploy {
namespace {

constexpr int kMaxPort = 65535, kBlocksTried = 200, kPortsTried = 2000;
// Below Linux's range for outgoing connections (32768 up): a port from there may become some connection's own
// end, even that of the coordinator dialling this very port, between being picked and being listened on.
constexpr int kFirstPicked = 20000, kEndPicked = 32000;

// A bound socket, or -1; `port` 0 is replaced by the one that was given.
int bind_port(const std::string& host, int& port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return -1;
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool bound = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0;
  freeaddrinfo(found);
  if (!bound) {
    if (fd >= 0) close(fd);
    return -1;
  }
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  port = ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
  return fd;
}

}  // namespace

bool ports_are_free(const std::string& host, int first, int count) {
  for (int port = first; port < first + count; ++port) {
    int wanted = port;
    const int fd = port <= kMaxPort ? bind_port(host, wanted) : -1;
    if (fd < 0) return false;
    close(fd);
  }
  return true;
}

std::vector<int> pick_free_ports(const std::string& host, int count) {
  std::random_device random;
  std::vector<int> ports, held;
  for (int tried = 0; tried < kPortsTried && static_cast<int>(ports.size()) < count; ++tried) {
    int port = kFirstPicked + static_cast<int>(random() % (kEndPicked - kFirstPicked));
    const int fd = bind_port(host, port);
    if (fd < 0) continue;
    held.push_back(fd);  // so that the next one differs
    ports.push_back(port);
  }
  for (const int fd : held) close(fd);
  return ports;
}

std::optional<int> find_free_block(const std::string& host, int from, int count) {
  for (int tried = 0, first = from; tried < kBlocksTried && first + count <= kMaxPort;
       ++tried, first += count) {
    if (ports_are_free(host, first, count)) return first;
  }
  return std::nullopt;
}

}  // namespace leadline::deploy
