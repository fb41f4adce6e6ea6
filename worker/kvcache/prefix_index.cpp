#include "worker/kvcache/prefix_index.h"

#include "monitoring/check.h"

namespace leadline::worker {

PrefixIndex::PrefixIndex(PagePool& pool) : pool_(pool), key_of_(pool.pages()) {
  by_key_.reserve(pool.pages());
}

PrefixIndex::~PrefixIndex() = default;

PrefixIndex::Match PrefixIndex::match(std::span<const kvstore::BlockKey> keys) const {
  Match m;
  for (const kvstore::BlockKey& key : keys) {
    const std::optional<PageId> page = find(key);
    if (!page) break;
    ++m.pages;
    m.held_pages += pool_.references(*page) > 0 || pool_.pinned(*page) ? 1 : 0;
  }
  return m;
}

std::optional<PageId> PrefixIndex::find(const kvstore::BlockKey& key) const {
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return std::nullopt;
  return it->second;
}

PageRef PrefixIndex::hold(const kvstore::BlockKey& key) {
  const std::optional<PageId> page = find(key);
  return page ? pool_.hold(*page) : PageRef();
}

PageRef PrefixIndex::insert(const kvstore::BlockKey& key, const PageRef& page) {
  const auto [it, fresh] = by_key_.try_emplace(key, page.id());
  if (!fresh) return it->second == page.id() ? PageRef() : pool_.hold(it->second);
  pool_.commit(page);  // checks that the page is not here under another key
  key_of_[page.id().value] = key;
  return {};
}

std::uint32_t PrefixIndex::evict(std::uint32_t count) {
  const std::vector<PageId> victims = pool_.eviction_order(count);
  for (const PageId page : victims) {
    LEADLINE_CHECK(by_key_.erase(key_of_[page.value]) == 1, "a committed page is not in the index");
    pool_.evict(page);
  }
  evictions_ += victims.size();
  return static_cast<std::uint32_t>(victims.size());
}

}  // namespace leadline::worker
