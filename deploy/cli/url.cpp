#include "deploy/cli/url.h"

#include <algorithm>
#include <charconv>

namespace leadline::deploy {
namespace {

bool is_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port <= 65535;
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') != std::string::npos ? "[" + host + "]" : host;
  return port == (tls ? "443" : "80") ? name : name + ":" + port;
}

Result<Url> parse_url(std::string_view text) {
  const std::string whole(text);
  const auto bad = [&](std::string_view why) {
    return fail(Errc::configuration, "URL \"" + whole + "\": " + std::string(why));
  };
  Url url;
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
    if (text.substr(0, scheme) != "http" && text.substr(0, scheme) != "https")
      return bad("only http and https");
    url.tls = text.substr(0, scheme) == "https";
    text.remove_prefix(scheme + 3);
  }
  const auto slash = std::min(text.find('/'), text.size());
  std::string_view authority = text.substr(0, slash), prefix = text.substr(slash);
  if (prefix.find_first_of("?# ") != std::string_view::npos) return bad("no query or fragment here");
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (prefix.ends_with("/v1")) prefix.remove_suffix(3);
  url.prefix = prefix;
  url.port = url.tls ? "443" : "80";
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) return bad("no ] after [");
    url.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
    if (!authority.empty() && authority.front() != ':') return bad("unexpected text after ]");
    if (!authority.empty()) url.port = authority.substr(1);
  } else {
    const auto colon = std::min(authority.find(':'), authority.size());
    url.host = authority.substr(0, colon);
    if (colon < authority.size()) url.port = authority.substr(colon + 1);
  }
  if (url.host.empty() || url.host.find('@') != std::string::npos) return bad("no host");
  if (!is_port(url.port)) return bad("port \"" + url.port + "\"");
  return url;
}

}  // namespace leadline::deploy
