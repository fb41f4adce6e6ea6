#pragma once
// RedisUrl: where the shared tier is, from one flag. Pure. Forms:
//   redis[s]://[user:pass@]host[:port][/db]                              one server; rediss: TLS
//   redis[s]+sentinel://[user:pass@]host[:port],host[:port]…/name[/db]   sentinels that know the master
//   `name` …?ca=FILE                                                            TLS: trust this CA, not the
//   system's
// A user or password with '@', '/', ':' or '%' is percent-encoded. Thread: values.

#include <cstdint>
#include <string>
#include <vector>

#include "kvstore/errc.h"

namespace leadline::kvstore {

struct RedisAddress {
  std::string host;
  std::uint16_t port = 6379;
  friend bool operator==(const RedisAddress&, const RedisAddress&) = default;
};

struct RedisUrl {
  bool tls = false;
  std::string user, password;           // "" = none; a password without a user: the default user's
  std::vector<RedisAddress> addresses;  // one server, or the sentinels
  std::string sentinel_master;          // "" = no sentinels
  int database = 0;
  std::string ca_file;
  friend bool operator==(const RedisUrl&, const RedisUrl&) = default;

  [[nodiscard]] std::string shown() const;  // without the password, for logs
};

Result<RedisUrl> parse_redis_url(
    std::string_view text);  // configuration: says what is wrong, not the password

}  // namespace leadline::kvstore
