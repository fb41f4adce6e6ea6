#include "deploy/cli/client_stream.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace leadline::deploy {
namespace {

std::string tls_reason() {
  char text[256] = "unknown reason";
  if (const unsigned long error = ERR_get_error(); error != 0) ERR_error_string_n(error, text, sizeof text);
  ERR_clear_error();
  return text;
}

}  // namespace

struct ClientStream::Impl {
  int fd = -1;
  int interrupt_fd = -1;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> tls{nullptr, SSL_free};

  ~Impl() {
    tls.reset();
    if (fd >= 0) close(fd);
  }

  // Until the socket has one of `events`.
  Result<void> wait(short events, Deadline deadline) const {
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now())
              .count();
      if (left <= 0) return fail(Errc::timeout, "no answer in time");
      pollfd polled[2] = {{fd, events, 0}, {interrupt_fd, POLLIN, 0}};
      const int ready =
          poll(polled, interrupt_fd >= 0 ? 2 : 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
      if (ready < 0 && errno != EINTR) return fail(Errc::io, std::string("poll: ") + std::strerror(errno));
      if (ready > 0 && interrupt_fd >= 0 && polled[1].revents != 0)
        return fail(Errc::interrupted, "interrupted");
      if (ready > 0 && polled[0].revents != 0) return {};
    }
  }

  // Runs an OpenSSL call until it is done: `call` returns > 0 when it is.
  template <typename Call>
  Result<int> drive(const Call& call, std::string_view what, Deadline deadline) {
    for (;;) {
      ERR_clear_error();
      const int done = call();
      if (done > 0) return done;
      const int error = SSL_get_error(tls.get(), done);
      if (error == SSL_ERROR_ZERO_RETURN) return 0;
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        return fail(Errc::io, std::string(what) + ": " + tls_reason());
      }
      if (auto waited = wait(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline); !waited) {
        return tl::unexpected(waited.error());
      }
    }
  }

  Result<void> open_socket(const addrinfo& address, Deadline deadline) {
    fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(Errc::io, std::string("socket: ") + std::strerror(errno));
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int error = 0;
    if (::connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
      error = errno;
      if (error == EINPROGRESS) {
        if (auto waited = wait(POLLOUT, deadline); !waited) return waited;
        socklen_t length = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
      }
    }
    if (error == 0) return {};
    close(std::exchange(fd, -1));
    return fail(Errc::io, std::strerror(error));
  }

  Result<void> start_tls(const Url& url, const StreamOptions& options, Deadline deadline) {
    context.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_default_verify_paths(context.get());
    if (!options.ca_file.empty() &&
        SSL_CTX_load_verify_locations(context.get(), options.ca_file.c_str(), nullptr) != 1) {
      return fail(Errc::configuration, options.ca_file + ": " + tls_reason());
    }
    SSL_CTX_set_verify(context.get(), options.insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    tls.reset(SSL_new(context.get()));
    SSL_set_fd(tls.get(), fd);
    X509_VERIFY_PARAM* verify = SSL_get0_param(tls.get());
    if (X509_VERIFY_PARAM_set1_ip_asc(verify, url.host.c_str()) != 1) {  // not an address: a name
      SSL_set_tlsext_host_name(tls.get(), url.host.c_str());
      X509_VERIFY_PARAM_set1_host(verify, url.host.c_str(), 0);
    }
    auto done = drive([&] { return SSL_connect(tls.get()); }, "TLS handshake", deadline);
    if (!done) return tl::unexpected(done.error());
    if (*done == 0) return fail(Errc::io, "TLS handshake: the peer closed");
    return {};
  }
};

ClientStream::ClientStream() : impl_(std::make_unique<Impl>()) {}
ClientStream::~ClientStream() = default;

Result<std::unique_ptr<ClientStream>> ClientStream::connect(const Url& url, const StreamOptions& options,
                                                            Deadline deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int lookup = getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &found);
  if (lookup != 0) return fail(Errc::io, url.host + ": " + gai_strerror(lookup));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  std::unique_ptr<ClientStream> stream(new ClientStream());
  stream->impl_->interrupt_fd = options.interrupt_fd;
  Result<void> opened = fail(Errc::io, "no address");
  for (const addrinfo* at = addresses.get(); at != nullptr && !opened; at = at->ai_next) {
    opened = stream->impl_->open_socket(*at, deadline);
    if (!opened && opened.error().code != Errc::io) break;
  }
  if (opened && url.tls) opened = stream->impl_->start_tls(url, options, deadline);
  if (!opened) return fail(opened.error().code, url.authority() + ": " + opened.error().message);
  return stream;
}

Result<std::size_t> ClientStream::read_some(std::span<char> into, Deadline deadline) {
  if (impl_->tls) {
    const int size = static_cast<int>(into.size());
    const auto got =
        impl_->drive([&] { return SSL_read(impl_->tls.get(), into.data(), size); }, "TLS read", deadline);
    if (!got) return tl::unexpected(got.error());
    return static_cast<std::size_t>(*got);
  }
  for (;;) {
    if (auto waited = impl_->wait(POLLIN, deadline); !waited) return tl::unexpected(waited.error());
    const ssize_t got = recv(impl_->fd, into.data(), into.size(), 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EAGAIN && errno != EINTR) return fail(Errc::io, std::strerror(errno));
  }
}

Result<void> ClientStream::write_all(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    if (impl_->tls) {
      const int size = static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20));
      const auto put = impl_->drive([&] { return SSL_write(impl_->tls.get(), bytes.data(), size); },
                                    "TLS write", deadline);
      if (!put) return tl::unexpected(put.error());
      if (*put == 0) return fail(Errc::io, "the peer closed");
      bytes.remove_prefix(static_cast<std::size_t>(*put));
      continue;
    }
    if (auto waited = impl_->wait(POLLOUT, deadline); !waited) return waited;
    const ssize_t put = send(impl_->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN && errno != EINTR) return fail(Errc::io, std::strerror(errno));
    if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

}  // namespace leadline::deploy
