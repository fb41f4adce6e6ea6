#pragma once
// RedisLink: one connection to the shared tier: dials (through sentinels where there are some), logs in,
// sends pipelined commands and reads their replies, and after a failure stays away for a while with jittered
// back-off. Not blocks (redis_tier). Thread: one at a time; state() and why() from any. Invariant: after an
// error or a timeout the connection is closed, so no late reply is taken for another's.

#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <string_view>

#include "kvstore/redis_stream.h"
#include "kvstore/resp_reader.h"

namespace leadline::kvstore {

struct RedisLinkOptions {
  RedisUrl url;
  std::chrono::milliseconds connect_limit{1'000};
  std::chrono::milliseconds io_limit{1'000};  // of one exchange, where the deadline is later
  std::chrono::milliseconds first_pause{100}, longest_pause{10'000};
};

class RedisLink {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  using Words = std::vector<std::string_view>;

  explicit RedisLink(RedisLinkOptions options);

  // Replies in the order of the commands. unavailable: away, or it failed now.
  Result<std::vector<RespReply>> exchange(std::span<const Words> commands, Deadline deadline);
  void fail(const std::string& why);  // the server answered that it cannot serve us: away for a while

  [[nodiscard]] bool away() const { return away_.load(); }
  [[nodiscard]] std::string why() const;

 private:
  Result<void> dial(Deadline deadline);
  Result<RedisAddress> ask_sentinels(Deadline deadline);
  Result<void> log_in(Deadline deadline);
  Result<std::vector<RespReply>> transact(std::span<const Words> commands, Deadline deadline);

  const RedisLinkOptions options_;
  std::unique_ptr<RedisStream> stream_;
  RespReader reader_;
  std::string out_;
  std::minstd_rand random_;
  std::chrono::milliseconds pause_;
  Deadline away_until_{};
  std::atomic<bool> away_{false};
  mutable std::mutex mutex_;  // guards why_
  std::string why_;
};

}  // namespace leadline::kvstore
