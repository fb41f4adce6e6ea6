#pragma once
// Url: the part of a server's address that chat and bench need: scheme, host, port, path prefix. Not a
// general parser: no user names, queries or fragments. Thread: values.

#include <string>
#include <string_view>

#include "deploy/cli/errc.h"

namespace leadline::deploy {

struct Url {
  bool tls = false;
  std::string host;                             // without the brackets of an IPv6 address
  std::string port;                             // "80" or "443" when not given
  std::string prefix;                           // "" or "/path", without a last '/' and without "/v1"
  [[nodiscard]] std::string authority() const;  // for the Host header
};

// Accepts http://HOST[:PORT][/PREFIX], https://…, and HOST:PORT as http. "/v1" at the end is taken off.
Result<Url> parse_url(std::string_view text);

}  // namespace leadline::deploy
