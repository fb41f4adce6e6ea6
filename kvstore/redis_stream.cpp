#include "kvstore/redis_stream.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace leadline::kvstore {
namespace {

tl::unexpected<Error> failed(std::string what) {
  return monitoring::fail(Errc::unavailable, "Redis: " + std::move(what));
}
std::string system_message(int error) {
  return std::generic_category().message(error);
}
std::string tls_message() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return text;
}

// OpenSSL writes with write(2): a closed peer must be an error, not a signal.
void block_sigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int open_socket(const addrinfo& address) {
  const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (::connect(fd, address.ai_addr, address.ai_addrlen) == 0 || errno == EINPROGRESS) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

struct RedisStream::Tls {
  ~Tls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
};

RedisStream::RedisStream(int fd) : fd_(fd) {}
RedisStream::~RedisStream() {
  tls_.reset();
  ::close(fd_);
}

Result<void> RedisStream::await(bool writing, Deadline deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return failed("no answer in time");
    pollfd waiting{fd_, static_cast<short>(writing ? POLLOUT : POLLIN), 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return failed(system_message(errno));
  }
}

Result<std::unique_ptr<RedisStream>> RedisStream::connect(const RedisAddress& address, const RedisUrl& url,
                                                          Deadline deadline) {
  block_sigpipe();
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const std::string port = std::to_string(address.port), name = address.host + ":" + port;
  if (const int error = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found); error != 0)
    return failed(name + ": " + ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, ::freeaddrinfo);
  std::string why = "no address";
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const int fd = open_socket(*one);
    if (fd < 0) {
      why = system_message(errno);
      continue;
    }
    std::unique_ptr<RedisStream> stream(new RedisStream(fd));
    if (auto ready = stream->await(true, deadline); !ready) return failed(name + ": no answer in time");
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      why = system_message(error);
      continue;
    }
    if (url.tls)
      if (auto done = stream->start_tls(address, url, deadline); !done)
        return failed(name + ": " + done.error().message);
    return stream;
  }
  return failed(name + ": " + why);
}

Result<void> RedisStream::start_tls(const RedisAddress& address, const RedisUrl& url, Deadline deadline) {
  tls_ = std::make_unique<Tls>();
  tls_->context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(tls_->context, TLS1_2_VERSION);
  SSL_CTX_set_verify(tls_->context, SSL_VERIFY_PEER, nullptr);
  const int trusted = url.ca_file.empty()
                          ? SSL_CTX_set_default_verify_paths(tls_->context)
                          : SSL_CTX_load_verify_locations(tls_->context, url.ca_file.c_str(), nullptr);
  if (trusted != 1) return failed("CA file " + url.ca_file + ": " + tls_message());
  tls_->ssl = SSL_new(tls_->context);
  SSL_set_fd(tls_->ssl, fd_);
  SSL_set_tlsext_host_name(tls_->ssl, address.host.c_str());
  X509_VERIFY_PARAM* verify = SSL_get0_param(tls_->ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(verify, address.host.c_str()) != 1)
    X509_VERIFY_PARAM_set1_host(verify, address.host.c_str(), 0);
  while (true) {
    const int done = SSL_connect(tls_->ssl);
    if (done == 1) return {};
    const int what = SSL_get_error(tls_->ssl, done);
    if (what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE) {
      const long verdict = SSL_get_verify_result(tls_->ssl);
      return failed("TLS: " + (verdict != X509_V_OK ? std::string(X509_verify_cert_error_string(verdict))
                                                    : tls_message()));
    }
    if (auto ready = await(what == SSL_ERROR_WANT_WRITE, deadline); !ready) return ready;
  }
}

Result<void> RedisStream::send(std::span<const char> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    bool writing = true;
    std::int64_t put = 0;
    if (tls_ == nullptr) {
      put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put < 0 && errno != EAGAIN && errno != EINTR) return failed(system_message(errno));
    } else {
      const int n =
          SSL_write(tls_->ssl, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20)));
      put = n;
      const int what = SSL_get_error(tls_->ssl, n);
      if (n <= 0 && what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE)
        return failed("TLS: " + tls_message());
      writing = what != SSL_ERROR_WANT_READ;
    }
    if (put > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      continue;
    }
    if (auto ready = await(writing, deadline); !ready) return ready;
  }
  return {};
}

Result<std::size_t> RedisStream::receive(std::span<std::byte> into, Deadline deadline) {
  while (true) {
    bool writing = false;
    if (tls_ == nullptr) {
      const ssize_t got = ::recv(fd_, into.data(), into.size(), 0);
      if (got > 0) return static_cast<std::size_t>(got);
      if (got == 0) return failed("the server closed the connection");
      if (errno != EAGAIN && errno != EINTR) return failed(system_message(errno));
    } else {
      const int n = SSL_read(tls_->ssl, into.data(), static_cast<int>(into.size()));
      if (n > 0) return static_cast<std::size_t>(n);
      const int what = SSL_get_error(tls_->ssl, n);
      if (what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE)
        return failed("the server closed the connection");
      writing = what == SSL_ERROR_WANT_WRITE;
    }
    if (auto ready = await(writing, deadline); !ready) return tl::unexpected(ready.error());
  }
}

}  // namespace leadline::kvstore
