#pragma once
// TlsContext: certificate and key for the public port, loaded again when either file changes. Open
// connections keep the context that they began with. TLS 1.2 and later. Thread: the I/O thread.

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "coordinator/errc.h"

namespace leadline::coordinator {

class TlsContext {
 public:
  // configuration: unreadable, not PEM, or key and certificate do not belong together.
  static Result<std::unique_ptr<TlsContext>> load(std::string cert_file, std::string key_file);
  std::shared_ptr<boost::asio::ssl::context> current() const { return context_; }
  // Looks at the files; a broken new pair leaves the old one in place and is returned as an error.
  Result<bool> reload_if_changed();

 private:
  TlsContext(std::string cert_file, std::string key_file)
      : cert_file_(std::move(cert_file)), key_file_(std::move(key_file)) {}
  Result<std::shared_ptr<boost::asio::ssl::context>> build() const;
  std::string stamp() const;  // changes with either file

  const std::string cert_file_, key_file_;
  std::shared_ptr<boost::asio::ssl::context> context_;  // shared with the streams made from it
  std::string stamp_;
};

}  // namespace leadline::coordinator
