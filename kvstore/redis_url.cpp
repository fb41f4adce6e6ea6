#include "kvstore/redis_url.h"

#include <charconv>

namespace leadline::kvstore {
namespace {

tl::unexpected<Error> wrong(std::string what) {
  return monitoring::fail(Errc::configuration, "Redis URL: " + what);
}

bool decode_percent(std::string_view text, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return false;
    const auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
    if (error != std::errc() || end != text.data() + i + 3 || value == 0) return false;
    out.push_back(static_cast<char>(value));
    i += 2;
  }
  return true;
}

template <typename T>
bool whole_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

bool parse_address(std::string_view text, std::uint16_t otherwise, RedisAddress& out) {
  out.port = otherwise;
  std::string_view port;
  if (text.starts_with('[')) {  // IPv6
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return false;
    out.host = text.substr(1, close - 1);
    port = text.substr(close + 1);
  } else {
    const std::size_t colon = text.find(':');
    out.host = text.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (out.host.empty()) return false;
  if (port.empty()) return true;
  return port.front() == ':' && whole_number(port.substr(1), out.port) && out.port != 0;
}

struct Scheme {
  std::string_view prefix;
  bool tls, sentinels;
};
constexpr Scheme kSchemes[] = {{"redis://", false, false},
                               {"rediss://", true, false},
                               {"redis+sentinel://", false, true},
                               {"rediss+sentinel://", true, true}};

bool parse_login(std::string_view login, RedisUrl& url) {
  const std::size_t colon = login.find(':');
  if (colon == std::string_view::npos) return decode_percent(login, url.user);
  return decode_percent(login.substr(0, colon), url.user) &&
         decode_percent(login.substr(colon + 1), url.password);
}

Result<void> parse_path(std::string_view path, bool sentinels, RedisUrl& url) {
  if (sentinels) {
    const std::size_t slash = path.find('/');
    url.sentinel_master = path.substr(0, slash);
    if (url.sentinel_master.empty()) return wrong("the master's name is missing after the sentinels");
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  if (!path.empty() && (!whole_number(path, url.database) || url.database < 0 || url.database > 65535))
    return wrong("database '" + std::string(path) + "' is not a number");
  return {};
}

}  // namespace

std::string RedisUrl::shown() const {
  std::string text = tls ? "rediss" : "redis";
  if (!sentinel_master.empty()) text += "+sentinel";
  text += "://";
  if (!user.empty() || !password.empty()) text += user + (password.empty() ? "@" : ":***@");
  for (std::size_t i = 0; i < addresses.size(); ++i)
    text += (i == 0 ? "" : ",") + addresses[i].host + ":" + std::to_string(addresses[i].port);
  if (!sentinel_master.empty()) text += "/" + sentinel_master;
  return text + "/" + std::to_string(database);
}

Result<RedisUrl> parse_redis_url(std::string_view text) {
  RedisUrl url;
  const Scheme* scheme = nullptr;
  for (const Scheme& one : kSchemes)
    if (text.starts_with(one.prefix)) scheme = &one;
  if (scheme == nullptr)
    return wrong("it begins with none of redis://, rediss://, redis+sentinel://, rediss+sentinel://");
  url.tls = scheme->tls;
  text.remove_prefix(scheme->prefix.size());
  if (const std::size_t query = text.find('?'); query != std::string_view::npos) {
    const std::string_view asked = text.substr(query + 1);
    if (!asked.starts_with("ca=") || !decode_percent(asked.substr(3), url.ca_file) || url.ca_file.empty())
      return wrong("after '?' only ca=FILE is known");
    text = text.substr(0, query);
  }
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    if (!parse_login(text.substr(0, at), url)) return wrong("user or password is not percent-encoded");
    text.remove_prefix(at + 1);
  }
  const std::size_t slash = text.find('/');
  std::string_view hosts = text.substr(0, slash);
  const std::string_view path = slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  while (true) {
    const std::size_t comma = hosts.find(',');
    RedisAddress address;
    if (!parse_address(hosts.substr(0, comma), scheme->sentinels ? 26379 : 6379, address))
      return wrong("host and port '" + std::string(hosts.substr(0, comma)) + "'");
    url.addresses.push_back(std::move(address));
    if (comma == std::string_view::npos) break;
    hosts.remove_prefix(comma + 1);
  }
  if (!scheme->sentinels && url.addresses.size() > 1) return wrong("several hosts are for +sentinel only");
  if (auto parsed = parse_path(path, scheme->sentinels, url); !parsed) return tl::unexpected(parsed.error());
  return url;
}

}  // namespace leadline::kvstore
