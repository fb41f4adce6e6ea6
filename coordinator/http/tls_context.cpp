#include "coordinator/http/tls_context.h"

#include <openssl/ssl.h>
#include <sys/stat.h>

namespace leadline::coordinator {

namespace {

std::string stamp_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "none";
  return std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) + "/" +
         std::to_string(info.st_ino) + "/" + std::to_string(info.st_size);
}

}  // namespace

std::string TlsContext::stamp() const {
  return stamp_of(cert_file_) + " " + stamp_of(key_file_);
}

Result<std::shared_ptr<boost::asio::ssl::context>> TlsContext::build() const {
  namespace ssl = boost::asio::ssl;
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  boost::system::error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                           ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
                       error);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION);
  context->use_certificate_chain_file(cert_file_, error);
  if (error) return fail(Errc::configuration, "--tls-cert " + cert_file_ + ": " + error.message());
  context->use_private_key_file(key_file_, ssl::context::pem, error);
  if (error) return fail(Errc::configuration, "--tls-key " + key_file_ + ": " + error.message());
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return fail(Errc::configuration, "--tls-key " + key_file_ + " does not belong to " + cert_file_);
  }
  return context;
}

Result<std::unique_ptr<TlsContext>> TlsContext::load(std::string cert_file, std::string key_file) {
  std::unique_ptr<TlsContext> tls(new TlsContext(std::move(cert_file), std::move(key_file)));
  tls->stamp_ = tls->stamp();
  auto context = tls->build();
  if (!context) return tl::unexpected(context.error());
  tls->context_ = std::move(*context);
  return tls;
}

Result<bool> TlsContext::reload_if_changed() {
  std::string now = stamp();
  if (now == stamp_) return false;
  stamp_ = std::move(now);  // a broken pair is reported once, not at every look
  auto context = build();
  if (!context) return tl::unexpected(context.error());
  context_ = std::move(*context);
  return true;
}

}  // namespace leadline::coordinator
