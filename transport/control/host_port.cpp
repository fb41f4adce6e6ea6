#include "transport/control/host_port.h"

#include <charconv>

namespace leadline::transport {

Result<HostPort> parse_host_port(std::string_view text) {
  const auto refuse = [&](const char* why) {
    return monitoring::fail(Errc::configuration,
                            "address \"" + std::string(text.substr(0, 300)) + "\": " + why);
  };
  std::string_view host, port;
  if (!text.empty() && text.front() == '[') {
    const auto end = text.find(']');
    if (end == std::string_view::npos || end + 1 >= text.size() || text[end + 1] != ':')
      return refuse("expected [V6]:PORT");
    host = text.substr(1, end - 1);
    port = text.substr(end + 2);
  } else {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) return refuse("expected HOST:PORT");
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.find(':') != std::string_view::npos) return refuse("an IPv6 address needs brackets");
  }
  if (host.empty() || host.size() > 253) return refuse("the host is empty or too long");
  HostPort address;
  address.host = host;
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (failure != std::errc{} || end != port.data() + port.size()) return refuse("the port is not 0 to 65535");
  return address;
}

std::string to_text(const HostPort& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace leadline::transport
