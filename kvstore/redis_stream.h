#pragma once
// RedisStream: one TCP or TLS connection with deadlines: bytes out, bytes in. Not the protocol (resp_reader,
// redis_link). Thread: one at a time. After an error it is of no more use. Invariant: no call waits beyond
// its deadline, but that looking up a host's name takes what the system's resolver takes.

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "kvstore/redis_url.h"

namespace leadline::kvstore {

class RedisStream {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  // unavailable: nobody there, or not the one that its certificate must name. TLS as `url` says.
  static Result<std::unique_ptr<RedisStream>> connect(const RedisAddress& address, const RedisUrl& url,
                                                      Deadline deadline);
  ~RedisStream();
  RedisStream(const RedisStream&) = delete;
  RedisStream& operator=(const RedisStream&) = delete;

  Result<void> send(std::span<const char> bytes, Deadline deadline);
  // At least one byte; 0 never.
  Result<std::size_t> receive(std::span<std::byte> into, Deadline deadline);

 private:
  struct Tls;
  explicit RedisStream(int fd);
  Result<void> await(bool writing, Deadline deadline);
  Result<void> start_tls(const RedisAddress& address, const RedisUrl& url, Deadline deadline);

  const int fd_;
  std::unique_ptr<Tls> tls_;  // null: plain
};

}  // namespace leadline::kvstore
