#include "coordinator/routing/prefix_history.h"

namespace leadline::coordinator {

namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15ULL + (hash << 6) + (hash >> 2);
  hash *= 0xBF58476D1CE4E5B9ULL;
  return hash ^ (hash >> 29);
}

}  // namespace

std::vector<std::uint64_t> prefix_hashes(std::span<const transport::TokenId> prompt,
                                         std::span<const std::uint8_t> salt) {
  std::uint64_t hash = 0x243F6A8885A308D3ULL;
  for (const std::uint8_t byte : salt) hash = mix(hash, byte);
  std::vector<std::uint64_t> hashes;
  hashes.reserve(prompt.size() / kPrefixBlockTokens);
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    hash = mix(hash, static_cast<std::uint64_t>(prompt[i]));
    if ((i + 1) % kPrefixBlockTokens == 0) hashes.push_back(hash);
  }
  return hashes;
}

void PrefixHistory::note(transport::WorkerId worker, std::span<const std::uint64_t> hashes) {
  // Last block first, so that a chain ages from its end: a prefix without its beginning is worth nothing.
  for (auto it = hashes.rbegin(); it != hashes.rend(); ++it) {
    const Key key{*it, worker};
    if (const auto found = entries_.find(key); found != entries_.end()) {
      by_age_.splice(by_age_.end(), by_age_, found->second);
      continue;
    }
    entries_.emplace(key, by_age_.insert(by_age_.end(), key));
  }
  while (entries_.size() > max_entries_) {
    entries_.erase(by_age_.front());
    by_age_.pop_front();
  }
}

std::uint32_t PrefixHistory::known_tokens(transport::WorkerId worker,
                                          std::span<const std::uint64_t> hashes) const {
  std::uint32_t blocks = 0;
  while (blocks < hashes.size() && entries_.contains(Key{hashes[blocks], worker})) ++blocks;
  return blocks * static_cast<std::uint32_t>(kPrefixBlockTokens);
}

void PrefixHistory::forget(transport::WorkerId worker) {
  for (auto it = by_age_.begin(); it != by_age_.end();) {
    if (it->worker == worker) {
      entries_.erase(*it);
      it = by_age_.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace leadline::coordinator
