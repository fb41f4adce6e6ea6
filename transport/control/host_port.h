#pragma once
// HostPort: the text form of an address: HOST:PORT or [V6]:PORT. Not a resolver.
// Thread: value.

#include <cstdint>
#include <string>
#include <string_view>

#include "transport/errc.h"

namespace leadline::transport {

struct HostPort {
  std::string host;  // name or literal, without brackets
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// configuration, naming the text: no port, a port beyond 65535, an empty host, a bare IPv6 literal.
Result<HostPort> parse_host_port(std::string_view text);
std::string to_text(const HostPort& address);

}  // namespace leadline::transport
