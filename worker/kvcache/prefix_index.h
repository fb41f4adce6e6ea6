#pragma once
// PrefixIndex: block key -> committed page. A chain of keys is a path of the prefix tree, so a walk over keys
// is the longest match. Not recency (PagePool orders the reusable pages) and not off-device blocks (kvstore).
// Thread: the step thread of rank 0.
// Invariants: every entry's page is committed, one entry per page and per key; a page leaves the index when
// it is evicted and in no other way, so the index never names a free page. A wrong key is a miss, never a
// wrong page.

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "kvstore/block_key.h"
#include "worker/kvcache/page_pool.h"

namespace leadline::worker {

class PrefixIndex {
 public:
  explicit PrefixIndex(PagePool& pool);
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  struct Match {
    std::uint32_t pages = 0;       // leading keys that are here
    std::uint32_t held_pages = 0;  // of these, held by somebody already: taking them costs no free page
  };
  [[nodiscard]] Match match(std::span<const kvstore::BlockKey> keys) const;  // looks only
  [[nodiscard]] PageRef hold(const kvstore::BlockKey& key);                  // empty: not here
  [[nodiscard]] std::optional<PageId> find(const kvstore::BlockKey& key) const;

  // `page` holds the block of `key`. The first insert of a key commits the page and returns an empty ref; if
  // the key is here with another page, nothing changes and that page is returned: the caller should take it
  // instead of its own.
  [[nodiscard]] PageRef insert(const kvstore::BlockKey& key, const PageRef& page);

  // Frees up to `count` reusable pages, least recently released first; the number freed.
  std::uint32_t evict(std::uint32_t count);

  [[nodiscard]] std::size_t entries() const { return by_key_.size(); }
  [[nodiscard]] std::uint64_t evictions() const { return evictions_; }

 private:
  PagePool& pool_;
  std::unordered_map<kvstore::BlockKey, PageId> by_key_;
  std::vector<kvstore::BlockKey> key_of_;  // (pages) key of each committed page
  std::uint64_t evictions_ = 0;
};

}  // namespace leadline::worker
