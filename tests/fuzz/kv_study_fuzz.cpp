// Access logs and rankers of the KV store: whatever the bytes are, what comes out can be replayed and asked.
// Each input is read as it is, and once more with its checksums made right: else hardly a mutation would be
// seen by what stands behind them.
#include <xxhash.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kvstore/replay/access_log.h"
#include "kvstore/replay/replay.h"
#include "monitoring/check.h"
#include "policy/eviction_ranker.h"

using namespace leadline;

namespace {

constexpr std::size_t kLimit = 1000;          // records
constexpr std::uint64_t kCapacity = 500'000;  // a few of the seed's blocks

void read_log(std::span<const std::byte> bytes) {
  const auto log = kvstore::access_records_from_bytes(bytes, kLimit);
  if (!log) {
    LEADLINE_CHECK(!log.error().message.empty(), "an error says what is wrong");
    return;
  }
  LEADLINE_CHECK(log->records.size() <= kLimit, "within the limit");
  for (const char* name : {"lru", "s3fifo", "gdsf"}) {
    auto policy = kvstore::make_eviction(name, kCapacity);
    const auto result = kvstore::replay(log->records, *policy, kCapacity);
    LEADLINE_CHECK(result.hits <= result.looks && policy->bytes() <= kCapacity,
                   "what was read can be replayed");
  }
  const auto best = kvstore::replay_belady(log->records, kCapacity);
  LEADLINE_CHECK(best.hits <= best.looks, "Belady, too");
  LEADLINE_CHECK(kvstore::reuse_samples(log->records, kCapacity, 60, 100).size() <= 100,
                 "samples within the limit");
  LEADLINE_CHECK(log->damaged > 0 || log->records.size() == kLimit ||
                     kvstore::to_bytes(log->records).size() == bytes.size(),
                 "written as it was read");
}

void read_ranker(std::span<const std::byte> bytes) {
  const auto ranker = policy::EvictionRanker::from_bytes(bytes);
  if (!ranker) {
    LEADLINE_CHECK(!ranker.error().message.empty(), "an error says what is wrong");
    return;
  }
  const float seconds = ranker->predict({1, 2, 3, 4, 5, 6});
  LEADLINE_CHECK(std::isfinite(seconds) && seconds > 0, "a ranker that was read answers");
}

void make_sums_right(std::span<std::byte> log, std::span<std::byte> ranker) {
  for (std::size_t at = 8; at + 48 <= log.size(); at += 48) {
    const auto sum = static_cast<std::uint32_t>(XXH3_64bits(log.data() + at, 44));
    std::memcpy(log.data() + at + 44, &sum, 4);
  }
  if (ranker.size() < 16) return;
  std::uint64_t sum = 0xCBF29CE484222325ULL;  // FNV-1a
  for (const std::byte b : ranker.subspan(16))
    sum = (sum ^ std::to_integer<std::uint64_t>(b)) * 0x100000001B3ULL;
  std::memcpy(ranker.data() + 8, &sum, 8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> log(bytes.begin(), bytes.end()), ranker = log;
  read_log(bytes);
  read_ranker(bytes);
  make_sums_right(log, ranker);
  read_log(log);
  read_ranker(ranker);
  return 0;
}
