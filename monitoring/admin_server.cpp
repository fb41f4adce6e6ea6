#include "monitoring/admin_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "monitoring/check.h"
#include "monitoring/http_reason.h"
#include "monitoring/log.h"

namespace leadline::monitoring {
namespace {

using Clock = std::chrono::steady_clock;

std::string to_bytes(const AdminResponse& response, std::string_view allow = {}) {
  std::string out =
      "HTTP/1.1 " + std::to_string(response.status) + " " + http_reason(response.status) + "\r\n";
  out += "Content-Type: " + response.content_type + "\r\n";
  out += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  if (!allow.empty()) out += "Allow: " + std::string(allow) + "\r\n";
  out += "Cache-Control: no-store\r\nConnection: close\r\n\r\n";
  return out + response.body;
}

AdminResponse problem(int status,
                      std::string_view message) {  // messages are our own words: nothing to escape
  return {status, "application/json", "{\"error\":\"" + std::string(message) + "\"}\n"};
}

// The first address of `host` that binds; the error names host and port.
Result<int> listen_on(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int lookup = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (lookup != 0) return fail(Errc::configuration, "admin address " + host + ": " + gai_strerror(lookup));
  std::string reason = "no address";
  int listener = -1;
  for (addrinfo* at = found; at != nullptr && listener < 0; at = at->ai_next) {
    const int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0) continue;
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 64) == 0) {
      listener = fd;
    } else {
      reason = std::strerror(errno);
      close(fd);
    }
  }
  freeaddrinfo(found);
  if (listener < 0)
    return fail(Errc::configuration, "admin address " + host + ":" + std::to_string(port) + ": " + reason);
  return listener;
}

std::uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port);
}

struct Connection {
  int fd = -1;
  Clock::time_point deadline;
  std::string received, answer;
  std::size_t sent = 0;
  bool answering = false,
       closing = false;  // closing: answer sent, reading the peer's rest so that it is not reset
};

}  // namespace

struct AdminServer::Impl {
  // constant after start
  AdminOptions options;
  MetricsRegistry* metrics = nullptr;
  const ProcessHealth* health = nullptr;
  std::vector<AdminRoute> routes;
  int listener = -1, wake = -1;
  std::uint16_t port = 0;
  // owned by the admin thread
  std::vector<Connection> connections;
  // shared
  std::atomic<bool> stopping{false};
  std::thread thread;

  ~Impl() {
    if (listener >= 0) close(listener);
    if (wake >= 0) close(wake);
  }

  void add_own_routes() {
    const auto health_route = [this](const char* path,
                                     HealthAnswer (ProcessHealth::*ask)(Clock::time_point) const) {
      routes.push_back(
          {"GET", path, [this, ask](const AdminRequest&) {
             HealthAnswer answer = (health->*ask)(Clock::now());
             return AdminResponse{answer.ok ? 200 : 503, "application/json", std::move(answer.json)};
           }});
    };
    health_route("/livez", &ProcessHealth::live);
    health_route("/readyz", &ProcessHealth::ready);
    health_route("/startupz", &ProcessHealth::startup);
    routes.push_back(
        {"GET", "/metrics", [this](const AdminRequest&) {
           return AdminResponse{200, "text/plain; version=0.0.4; charset=utf-8", metrics->render()};
         }});
  }

  std::string answer_to(const AdminRequest& request) {
    std::string allow;
    for (const AdminRoute& route : routes) {
      if (route.path != request.path) continue;
      if (route.method == request.method) return to_bytes(route.handle(request));
      allow += (allow.empty() ? "" : ", ") + route.method;
    }
    if (allow.empty()) return to_bytes(problem(404, "no such path"));
    return to_bytes(problem(405, "method not allowed"), allow);
  }

  void accept_new() {
    for (;;) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;  // nothing left, or out of descriptors: poll asks again
      if (connections.size() >= options.max_connections) {
        close(fd);
        continue;
      }
      connections.push_back({fd,
                             Clock::now() + std::chrono::milliseconds(options.request_timeout_ms),
                             {},
                             {},
                             0,
                             false,
                             false});
    }
  }

  void begin_answer(Connection& connection, std::string bytes) {
    connection.answer = std::move(bytes);
    connection.answering = true;
  }

  // False when the connection is over.
  bool read_some(Connection& connection) {
    char buffer[4096];
    const ssize_t got = recv(connection.fd, buffer, sizeof buffer, 0);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (connection.closing) return true;
    connection.received.append(buffer, static_cast<std::size_t>(got));
    const AdminParse parse = parse_admin_request(connection.received, options.max_request_bytes);
    if (parse.state == AdminParse::State::complete) begin_answer(connection, answer_to(parse.request));
    if (parse.state == AdminParse::State::bad)
      begin_answer(connection, to_bytes(problem(parse.status, parse.reason)));
    return true;
  }

  bool write_some(Connection& connection) {
    const std::string_view rest = std::string_view(connection.answer).substr(connection.sent);
    const ssize_t put = send(connection.fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (put < 0) return errno == EAGAIN || errno == EINTR;
    connection.sent += static_cast<std::size_t>(put);
    if (connection.sent == connection.answer.size()) {
      shutdown(connection.fd, SHUT_WR);
      connection.answering = false;
      connection.closing = true;
    }
    return true;
  }

  // One connection after poll: true while it goes on.
  bool serve(Connection& connection, short events, Clock::time_point now) {
    if (now >= connection.deadline) {
      if (!connection.answering && !connection.closing && !connection.received.empty()) {
        const std::string late = to_bytes(problem(408, "request took too long"));
        (void)!send(connection.fd, late.data(), late.size(), MSG_NOSIGNAL);
      }
      return false;
    }
    if ((events & (POLLERR | POLLNVAL)) != 0) return false;
    if (!connection.answering && (events & (POLLIN | POLLHUP)) != 0 && !read_some(connection)) return false;
    if (connection.answering && !write_some(connection)) return false;
    return true;
  }

  int wait_ms(Clock::time_point now) const {
    std::int64_t wait = 60'000;
    for (const Connection& connection : connections) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(connection.deadline - now).count() + 1;
      wait = std::clamp<std::int64_t>(left, 0, wait);
    }
    return static_cast<int>(wait);
  }

  void run() {
    std::vector<pollfd> polled;
    while (!stopping.load()) {
      polled.assign({{wake, POLLIN, 0}, {listener, POLLIN, 0}});
      for (const Connection& c : connections)
        polled.push_back({c.fd, static_cast<short>(c.answering ? POLLOUT : POLLIN), 0});
      (void)poll(polled.data(), polled.size(), wait_ms(Clock::now()));
      const Clock::time_point now = Clock::now();
      for (std::size_t i = connections.size(); i-- > 0;) {
        if (serve(connections[i], polled[i + 2].revents, now)) continue;
        close(connections[i].fd);
        connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if ((polled[1].revents & POLLIN) != 0) accept_new();
    }
    for (const Connection& connection : connections) close(connection.fd);
    connections.clear();
  }
};

AdminServer::AdminServer() : impl_(std::make_unique<Impl>()) {}

Result<std::unique_ptr<AdminServer>> AdminServer::start(const AdminOptions& options, MetricsRegistry& metrics,
                                                        const ProcessHealth& health,
                                                        std::vector<AdminRoute> more) {
  Result<int> listener = listen_on(options.host, options.port);
  if (!listener) return tl::unexpected(listener.error());
  std::unique_ptr<AdminServer> server(new AdminServer());
  Impl& impl = *server->impl_;
  impl.options = options;
  impl.metrics = &metrics;
  impl.health = &health;
  impl.listener = *listener;
  impl.port = bound_port(*listener);
  impl.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (impl.wake < 0) return fail(Errc::io, std::string("eventfd: ") + std::strerror(errno));
  impl.routes = std::move(more);
  impl.add_own_routes();
  impl.thread = std::thread([&impl] { impl.run(); });
  return server;
}

AdminServer::~AdminServer() {
  stop();
}

std::uint16_t AdminServer::port() const {
  return impl_->port;
}

void AdminServer::stop() {
  if (!impl_->thread.joinable()) return;
  impl_->stopping.store(true);
  const std::uint64_t one = 1;
  (void)!write(impl_->wake, &one, sizeof one);
  impl_->thread.join();
}

}  // namespace leadline::monitoring
