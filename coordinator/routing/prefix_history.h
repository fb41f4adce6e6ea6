#pragma once
// PrefixHistory: which prefixes we have sent to which worker, as chained hashes of fixed blocks. A hint for
// routing, never an identity for loading KV; bounded, oldest first out. Holds no tokens. Thread: the I/O
// thread.

#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "transport/control/ids.h"

namespace leadline::coordinator {

inline constexpr std::size_t kPrefixBlockTokens = 64;

// One hash per whole block, each over everything before it and over `salt` (the tenant's: tenants never
// share).
std::vector<std::uint64_t> prefix_hashes(std::span<const transport::TokenId> prompt,
                                         std::span<const std::uint8_t> salt);

class PrefixHistory {
 public:
  explicit PrefixHistory(std::size_t max_entries) : max_entries_(max_entries) {}

  void note(transport::WorkerId worker, std::span<const std::uint64_t> hashes);
  std::uint32_t known_tokens(transport::WorkerId worker, std::span<const std::uint64_t> hashes) const;
  void forget(transport::WorkerId worker);  // its cache is gone
  std::size_t size() const { return entries_.size(); }

 private:
  struct Key {
    std::uint64_t hash;
    transport::WorkerId worker;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return key.hash ^ (key.worker.value * 0x9E3779B97F4A7C15ULL);
    }
  };
  const std::size_t max_entries_;
  std::list<Key> by_age_;  // oldest first
  std::unordered_map<Key, std::list<Key>::iterator, KeyHash> entries_;
};

}  // namespace leadline::coordinator
