#pragma once
// RedisTier: blocks in a Redis 6 or later that hosts share. The server bounds its memory (maxmemory and its
// policy); every block has a time to live. Two connections, so that loads never queue behind stores. Down is
// a state: calls answer at once until the next try. Cluster is not supported (Sentinel is). Thread: any.
//
// Keys: leadline:kv:1:<64 hex digits>:<head>. A value is a block's bytes (docs/formats/kv_block.md).

#include <atomic>
#include <mutex>

#include "kvstore/redis_link.h"
#include "kvstore/tier.h"

namespace leadline::kvstore {

struct RedisTierOptions {
  RedisLinkOptions link;
  std::uint64_t ttl_s = 7 * 24 * 3600;     // of a block without a time of its own
  std::chrono::milliseconds retry{5'000};  // after "out of memory"
  UnixClock unix_now = unix_now_s;
  std::function<void(std::string_view what, std::string_view why)> log;
};

std::string redis_key(const BlockId& id);

class RedisTier final : public Tier {
 public:
  explicit RedisTier(RedisTierOptions options);

  [[nodiscard]] TierKind kind() const override { return TierKind::redis; }
  [[nodiscard]] bool waits() const override { return true; }
  void get(std::span<const BlockId> ids, std::span<TierRead> reads, TierDeadline deadline) override;
  [[nodiscard]] std::size_t leading(std::span<const BlockId> ids, TierDeadline deadline) override;
  PutOutcome put(const BlockPtr& block, TierDeadline deadline) override;
  bool erase(const BlockId& id, TierDeadline deadline) override;
  [[nodiscard]] TierUsage usage() const override { return {stored_bytes_.load(), 0, stored_.load()}; }
  [[nodiscard]] TierState state() const override;
  [[nodiscard]] std::string why() const override;

 private:
  struct Lane {
    explicit Lane(const RedisLinkOptions& options) : link(options) {}
    std::mutex mutex;  // one exchange at a time
    RedisLink link;
  };
  Result<std::vector<RespReply>> ask(Lane& lane, std::span<const RedisLink::Words> commands,
                                     TierDeadline deadline);
  TierRead read(const BlockId& id, const RespReply& reply, std::vector<BlockId>& damaged);
  void note_errors(Lane& lane, const std::vector<RespReply>& replies);

  const RedisTierOptions options_;
  Lane loads_, stores_;
  std::atomic<std::uint64_t> stored_{0}, stored_bytes_{0};  // by this process
  std::atomic<std::int64_t> full_until_ms_{0};
  std::atomic<bool> was_away_{false};
};

}  // namespace leadline::kvstore
