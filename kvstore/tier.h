#pragma once
// Tier: one place that keeps blocks off the device. The contract of memory_tier, disk_tier and redis_tier,
// held by one conformance suite (tests/conformance/kvstore). Not a policy: what goes where, and when, is
// tiered_store's.
//
// Thread: every function from any thread. A call may wait for I/O until its deadline, so only the store's own
// threads call a tier that does I/O (waits() says which); one loader and one storer do not wait for each
// other. Laws:
//   1. get gives the very bytes that were put under this id, or no block. A damaged, truncated or
//      foreign one is `corrupt`, is put aside, and is a miss from then on (trap T2).
//   2. Any tier may drop any block at any time; a put that said `stored` promises nothing for later.
//   3. usage().bytes never exceeds usage().capacity, counted as the tier really spends them.
//   4. No call lasts longer than its deadline by more than one system call; what is not there by then is
//      `unavailable`.
//   5. An expired block is a miss and is erased.
//   6. Being down is a state (state()), not an error: calls answer `unavailable` at once until it is back.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "kvstore/block.h"

namespace leadline::kvstore {

enum class TierKind : std::uint8_t { memory = 0, disk = 1, redis = 2 };
inline constexpr std::size_t kTierKinds = 3;
inline constexpr std::string_view kTierNames[kTierKinds] = {"memory", "disk", "redis"};

enum class TierState : std::uint8_t {
  ok = 0,
  read_only = 1,  // blocks can be read but not stored: full for good, or not writable
  down = 2,       // not now; tried again by itself
};
inline constexpr std::string_view kTierStateNames[] = {"ok", "read_only", "down"};

enum class GetOutcome : std::uint8_t { hit = 0, miss = 1, corrupt = 2, unavailable = 3 };
enum class PutOutcome : std::uint8_t {
  stored = 0,
  present = 1,  // it was there already; as good as stored
  full = 2,     // no room could be made, or larger than the tier
  unavailable = 3,
};

struct TierRead {
  GetOutcome outcome = GetOutcome::miss;
  BlockPtr block;  // hit only
};

struct TierUsage {
  std::uint64_t bytes = 0,
                capacity_bytes = 0;  // of this process's view; 0 capacity: not bounded by us (Redis)
  std::uint64_t blocks = 0;
};

using TierDeadline = std::chrono::steady_clock::time_point;

// What a tier tells while it works; called under no lock, from the calling thread. All may be empty.
struct TierEvents {
  std::function<void(std::uint32_t reads, std::uint64_t bytes)> evicted;  // reads it had in this tier
  std::function<void(double seconds)> reused_after_eviction;  // a block came back that was evicted then
};

class Tier {
 public:
  virtual ~Tier() = default;
  [[nodiscard]] virtual TierKind kind() const = 0;
  [[nodiscard]] virtual bool waits() const = 0;  // does I/O
  // Once, on the thread that will put, before its first put; may take long. Blocks can be read before.
  virtual void start(const std::atomic<bool>& stop) { (void)stop; }

  // reads[i] is about ids[i]; stops early only at the deadline. REQUIRES equal sizes.
  virtual void get(std::span<const BlockId> ids, std::span<TierRead> reads, TierDeadline deadline) = 0;
  // Will be asked for soon, in this order: the tier may begin to read them. Nothing is promised, nobody
  // waits.
  virtual void expect(std::span<const BlockId> ids) { (void)ids; }
  // How many leading ids are here; a hint (the block may be gone or damaged when it is read).
  [[nodiscard]] virtual std::size_t leading(std::span<const BlockId> ids, TierDeadline deadline) = 0;
  virtual PutOutcome put(const BlockPtr& block, TierDeadline deadline) = 0;
  // Forgets a block wherever it is: damaged, foreign or expired. True: it was there.
  virtual bool erase(const BlockId& id, TierDeadline deadline) = 0;

  [[nodiscard]] virtual TierUsage usage() const = 0;
  [[nodiscard]] virtual TierState state() const = 0;
  [[nodiscard]] virtual std::string why() const = 0;  // of a state other than ok
};

// Wall clock in seconds, for expiry; tests hand their own.
using UnixClock = std::function<std::uint64_t()>;
std::uint64_t unix_now_s();

[[nodiscard]] inline bool expired(const BlockHeader& header, std::uint64_t now_s) {
  return header.expires_unix_s != 0 && header.expires_unix_s <= now_s;
}

}  // namespace leadline::kvstore
