#include "worker/kvcache/sequence_cache.h"

#include <algorithm>
#include <utility>

#include "monitoring/check.h"

namespace leadline::worker {

struct SequenceCache::Sequence {
  explicit Sequence(PageTable pages) : table(std::move(pages)) {}
  PageTable table;                   // empty while waiting or swapped
  std::vector<std::int32_t> tokens;  // known at add, then extended by commits
  kvstore::BlockKey root;
  std::vector<kvstore::BlockKey> keys;  // of the full blocks of `tokens`
  KeepWish keep;
  std::vector<HostPageRef> host;    // in slot order while swapped
  std::vector<PageRef> compressed;  // pages of what left the table, in order
  std::vector<std::uint32_t> open;  // bounds of the compressions in the plan at hand, at the list's end
  std::uint32_t gone = 0;           // tokens that left the table, at its front
  std::uint32_t longest_hit = UINT32_MAX;
  bool own_tail = false;           // what follows the compressed part is nobody else's
  std::uint32_t computed = 0;      // tokens with KV
  std::uint32_t reserved = 0;      // slots behind them
  std::uint32_t expected_end = 0;  // keys[computed / 16, expected_end) are in expected_
  std::uint64_t moved_in = 0;      // the plan that moves pages of this sequence
  bool admitted = false, swapped = false;
};

SequenceCache::SequenceCache(SequenceCacheOptions options)
    : options_(std::move(options)), pool_(options_.pages), host_(options_.host_pages), index_(pool_) {}

SequenceCache::~SequenceCache() = default;

SequenceCache::Sequence& SequenceCache::at(SequenceId id) {
  const auto it = sequences_.find(id);
  LEADLINE_CHECK(it != sequences_.end(), "a sequence that the cache does not know");
  return *it->second;
}
const SequenceCache::Sequence& SequenceCache::at(SequenceId id) const {
  return const_cast<SequenceCache*>(this)->at(id);  // the one lookup, for both
}

bool SequenceCache::make_free(std::uint32_t pages) {
  if (pages <= pool_.free()) return true;
  if (pages > pool_.free() + pool_.reusable()) return false;
  index_.evict(pages - pool_.free());
  return true;
}

void SequenceCache::extend_keys(Sequence& s) const {
  if (!options_.prefix_reuse) return;
  const std::span<const std::int32_t> tokens(s.tokens);
  while ((s.keys.size() + 1) * kPageTokens <= tokens.size())
    s.keys.push_back(kvstore::next_key(s.keys.empty() ? s.root : s.keys.back(),
                                       tokens.subspan(s.keys.size() * kPageTokens, kPageTokens)));
}

// The page is full of computed tokens. If another sequence computed the same block first, take that page: the
// bytes are equal (X1), memory is saved, and chains stay whole in the pool's order.
bool SequenceCache::index_page(Sequence& s, std::uint32_t page) {
  const std::uint32_t at = page - s.gone / kPageTokens;
  PageRef same = index_.insert(s.keys[page], s.table.ref(at));
  if (!same) return true;
  s.table.replace(at, std::move(same));
  return false;
}

// Says which blocks this sequence will compute: the whole ones of its known tokens.
void SequenceCache::expect_keys(Sequence& s) {
  s.expected_end = static_cast<std::uint32_t>(s.keys.size());
  for (std::uint32_t i = whole_pages(s.computed); i < s.expected_end; ++i) ++expected_[s.keys[i]];
}

// Of keys [first, end): they are computed now, or never will be.
void SequenceCache::forget_keys(Sequence& s, std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t i = first; i < std::min(end, s.expected_end); ++i) {
    const auto it = expected_.find(s.keys[i]);
    if (--it->second == 0) expected_.erase(it);
  }
}

// Pages [first, last) of the text became full, their groups whole.
void SequenceCache::index_pages(Sequence& s, std::uint32_t first, std::uint32_t last) {
  const bool shared = options_.prefix_reuse && !s.own_tail;
  if (!shared && options_.lossy_codec.empty()) return;
  for (std::uint32_t page = first; page < last; ++page) {
    const bool own = !shared || index_page(s, page);
    if (own && !options_.lossy_codec.empty())
      moves_.quantise.push_back(s.table.page(page - s.gone / kPageTokens));
    if (!own || !shared || !options_.seal_blocks || !s.keep.store) continue;
    moves_.seals.push_back({s.table.page(page - s.gone / kPageTokens), page, s.keep.expires_unix_s,
                            s.keys[page], page == 0 ? s.root : s.keys[page - 1]});
  }
}

void SequenceCache::add(SequenceId id, std::span<const std::int32_t> known, const kvstore::TenantSalt& salt,
                        const CacheRules& rules) {
  LEADLINE_CHECK(!known.empty(), "a sequence without tokens");
  auto s = std::make_unique<Sequence>(PageTable(pool_));
  s->tokens.assign(known.begin(), known.end());
  s->root = kvstore::root_key({.model_fingerprint = options_.model_fingerprint,
                               .salt = salt,
                               .compression = rules.compression,
                               .lossy_codec = options_.lossy_codec});
  s->keep = rules.keep;
  s->longest_hit = rules.longest_hit;
  extend_keys(*s);
  LEADLINE_CHECK(sequences_.emplace(id, std::move(s)).second, "a sequence is added twice");
}

// Keys that a hit may use: whole groups before the last known token.
std::span<const kvstore::BlockKey> SequenceCache::usable_keys(const Sequence& s) const {
  const std::uint32_t most = whole_pages(std::min<std::size_t>(s.tokens.size() - 1, s.longest_hit));
  return std::span(s.keys).first(std::min<std::size_t>(s.keys.size(), most));
}

std::uint32_t SequenceCache::rows_to_group_end(SequenceId id) const {
  if (options_.lossy_codec.empty()) return UINT32_MAX;
  return options_.group_tokens - at(id).computed % options_.group_tokens;
}

PrefixHit SequenceCache::peek(SequenceId id) const {
  const Sequence& s = at(id);
  LEADLINE_CHECK(!s.admitted, "peeking for an admitted sequence");
  std::span<const kvstore::BlockKey> keys = usable_keys(s);
  PrefixIndex::Match m = index_.match(keys);
  if (const std::uint32_t whole = whole_pages(m.pages * kPageTokens); whole != m.pages)
    m = index_.match(keys.first(whole));
  std::uint32_t soon = 0;
  while (m.pages + soon < keys.size() && expected_.contains(keys[m.pages + soon])) ++soon;
  soon = whole_pages((m.pages + soon) * kPageTokens) - m.pages;
  return {m.pages * kPageTokens, m.held_pages, soon * kPageTokens};
}

std::span<const kvstore::BlockKey> SequenceCache::chain(SequenceId id) const {
  const Sequence& s = at(id);
  return usable_keys(s);
}

const kvstore::BlockKey& SequenceCache::chain_root(SequenceId id) const {
  return at(id).root;
}

std::size_t SequenceCache::known_tokens(SequenceId id) const {
  return at(id).tokens.size();
}

// Fresh pages for staged blocks, for as long as they follow what the table has and there is room. They are
// committed at once: the plan fills them before any of its rows reads them.
std::uint32_t SequenceCache::restore_pages(Sequence& s, const StagedBlocks& staged) {
  std::uint32_t restored = 0;
  const auto usable = static_cast<std::uint32_t>(usable_keys(s).size());
  for (std::uint32_t page = s.table.slots() / kPageTokens; page < std::min(usable, staged.end_page());
       ++page) {
    if (page < staged.first_page) break;  // the pages in between were evicted meanwhile
    PageRef ref = index_.hold(s.keys[page]);
    const bool fresh = !ref;
    if (fresh) {
      if (!make_free(1)) break;
      ref = std::move(*pool_.allocate());
      moves_.restores.push_back({staged.fetch, page - staged.first_page, ref.id()});
      ++restored;
    }
    s.table.attach(std::move(ref), kPageTokens);
    if (fresh) index_page(s, page);
  }
  // Of a group only whole: its rest would be computed by rows that see its beginning quantised.
  const std::uint32_t whole = whole_pages(s.table.slots());
  for (std::uint32_t page = whole; page < s.table.slots() / kPageTokens; ++page)
    keep_pages_.push_back(s.table.ref(page).share());  // the plan still writes it
  s.table.truncate(whole * kPageTokens);
  if (restored > 0) s.moved_in = plan_;
  return restored;
}

PrefixHit SequenceCache::admit(SequenceId id, const StagedBlocks& staged) {
  PrefixHit hit = peek(id);
  Sequence& s = at(id);
  for (std::uint32_t i = 0; i < hit.tokens / kPageTokens; ++i)
    s.table.attach(index_.hold(s.keys[i]), kPageTokens);
  if (staged.pages > 0) {
    const std::uint32_t restored = restore_pages(s, staged) * kPageTokens, before = hit.tokens;
    hit.tokens = s.table.slots();
    hit.restored_tokens = std::min(restored, hit.tokens - before);  // less where a group was not whole
  }
  s.computed = hit.tokens;
  s.admitted = true;
  expect_keys(s);
  return hit;
}

bool SequenceCache::reserve(SequenceId id, std::uint32_t n) {
  Sequence& s = at(id);
  LEADLINE_CHECK(s.admitted && !s.swapped && s.reserved == 0, "reserving for a sequence that cannot run");
  if (!make_free(s.table.pages_needed(n))) return false;
  const std::size_t copies = moves_.copies.size();
  s.table.append(n, moves_.copies, keep_pages_);
  if (moves_.copies.size() != copies) s.moved_in = plan_;
  s.reserved = n;
  return true;
}

void SequenceCache::commit(SequenceId id, std::span<const std::int32_t> tokens) {
  Sequence& s = at(id);
  LEADLINE_CHECK(tokens.size() <= s.reserved, "committing more than was reserved");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::size_t position = s.computed + i;
    if (position == s.tokens.size()) s.tokens.push_back(tokens[i]);
    LEADLINE_CHECK(s.tokens[position] == tokens[i], "KV was computed for another token than the known one");
  }
  const std::uint32_t before = whole_pages(s.computed);
  LEADLINE_CHECK(tokens.size() <= rows_to_group_end(id), "rows beyond the group that they see raw");
  s.computed += static_cast<std::uint32_t>(tokens.size());
  const std::uint32_t whole = whole_pages(s.computed);
  forget_keys(s, before, whole);
  s.reserved = 0;
  s.table.truncate(s.computed - s.gone);
  extend_keys(s);
  index_pages(s, before, whole);
}

bool SequenceCache::begin_compress(SequenceId id, const CompressSpan& span, CompressPages& pages) {
  Sequence& s = at(id);
  LEADLINE_CHECK(s.admitted && !s.swapped && s.reserved == 0, "compressing a sequence that cannot run");
  LEADLINE_CHECK(span.tokens > 0 && s.gone + span.tokens <= s.computed && !s.own_tail,
                 "compressing tokens without KV");
  LEADLINE_CHECK(s.gone + span.tokens == s.computed || span.tokens % kPageTokens == 0,
                 "compressing part of a page");
  if (!make_free(span.bound)) return false;
  for (PageRef& page : s.table.take_front(pages_for_slots(span.tokens))) {
    pages.from.push_back(page.id());
    keep_pages_.push_back(std::move(page));
  }
  for (std::uint32_t i = 0; i < span.bound; ++i) {
    s.compressed.push_back(std::move(*pool_.allocate()));
    pages.to.push_back(s.compressed.back().id());
  }
  s.open.push_back(span.bound);
  s.gone += span.tokens;
  s.own_tail = span.own_tail;
  s.moved_in = plan_;
  return true;
}

void SequenceCache::end_compress(SequenceId id, std::uint32_t used) {
  Sequence& s = at(id);
  LEADLINE_CHECK(!s.open.empty() && used <= s.open.front(), "a compression used more pages than it had");
  std::size_t open = 0;
  for (const std::uint32_t bound : s.open) open += bound;
  const auto first = s.compressed.begin() + static_cast<std::ptrdiff_t>(s.compressed.size() - open);
  s.compressed.erase(first + used, first + s.open.front());
  s.open.erase(s.open.begin());
}

std::uint32_t SequenceCache::compressed_tokens(SequenceId id) const {
  return at(id).gone;
}
std::uint32_t SequenceCache::compressed_pages(SequenceId id) const {
  return static_cast<std::uint32_t>(at(id).compressed.size());
}

bool SequenceCache::swap_out(SequenceId id) {
  Sequence& s = at(id);
  LEADLINE_CHECK(s.admitted && !s.swapped && s.reserved == 0, "swapping out a sequence that does not run");
  LEADLINE_CHECK(s.moved_in != plan_, "a sequence is moved twice in one plan");
  if (s.gone > 0) return false;  // its ranks' lists name its pages: it is computed again, as it was
  const auto pages = static_cast<std::uint32_t>(s.table.pages().size());
  if (pages > host_.free()) return false;
  for (std::uint32_t i = 0; i < pages; ++i) {
    s.host.push_back(std::move(*host_.allocate()));
    moves_.swap_out.push_back({s.table.page(i), s.host.back().id()});
  }
  s.table.clear();  // at once: swap_out is executed before anything that writes
  forget_keys(s, whole_pages(s.computed), s.expected_end);
  s.expected_end = 0;
  s.swapped = true;
  s.moved_in = plan_;
  return true;
}

bool SequenceCache::swap_in(SequenceId id) {
  Sequence& s = at(id);
  LEADLINE_CHECK(s.swapped && s.moved_in != plan_,
                 "swapping in a sequence that is not out, or left in this plan");
  const auto pages = static_cast<std::uint32_t>(s.host.size());
  // Hold what is still here first, so that making room does not evict it.
  std::vector<PageRef> found(pages);
  std::uint32_t missing = pages;
  for (std::uint32_t i = 0; i < s.keys.size() && i < whole_pages(s.computed); ++i)
    if ((found[i] = index_.hold(s.keys[i]))) --missing;
  if (!make_free(missing)) {
    while (!found.empty()) found.pop_back();  // last page first, as ever
    return false;
  }
  for (std::uint32_t i = 0; i < pages; ++i) {
    const std::uint32_t filled = std::min(kPageTokens, s.computed - i * kPageTokens);
    const bool copied = !found[i];
    if (copied) {
      found[i] = std::move(*pool_.allocate());
      moves_.swap_in.push_back({found[i].id(), s.host[i].id()});
    }
    s.table.attach(std::move(found[i]), filled);
    if (copied && i < whole_pages(s.computed) && options_.prefix_reuse) index_page(s, i);
    keep_host_.push_back(std::move(s.host[i]));
  }
  s.host.clear();
  expect_keys(s);
  s.swapped = false;
  s.moved_in = plan_;
  return true;
}

void SequenceCache::fork(SequenceId from, SequenceId to) {
  const Sequence& s = at(from);
  LEADLINE_CHECK(s.admitted && !s.swapped && s.reserved == 0, "forking a sequence that does not run");
  LEADLINE_CHECK(s.gone == 0, "forking a compressed sequence");
  // Both would quantise the pages of their common group, at different times.
  LEADLINE_CHECK(options_.lossy_codec.empty() || s.computed % options_.group_tokens == 0,
                 "forking within a group");
  auto copy = std::make_unique<Sequence>(s.table.fork());
  // What is known but not computed is the first one's own: the second may go on differently.
  copy->tokens.assign(s.tokens.begin(), s.tokens.begin() + s.computed);
  copy->root = s.root;
  copy->keep = s.keep;
  copy->keys.assign(s.keys.begin(),
                    s.keys.begin() + std::min<std::ptrdiff_t>(std::ssize(s.keys), s.computed / kPageTokens));
  copy->computed = s.computed;
  copy->moved_in = s.moved_in;
  copy->admitted = true;
  LEADLINE_CHECK(sequences_.emplace(to, std::move(copy)).second, "a sequence is added twice");
}

void SequenceCache::release(SequenceId id) {
  Sequence& s = at(id);
  forget_keys(s, whole_pages(s.computed), s.expected_end);
  if (s.moved_in == plan_) {  // moves in the plan still write its pages: nobody else may have them before
    std::vector<PageRef> pages = s.table.take();
    std::move(pages.rbegin(), pages.rend(), std::back_inserter(keep_pages_));
    std::move(s.compressed.begin(), s.compressed.end(), std::back_inserter(keep_pages_));
  }
  sequences_.erase(id);
}

bool SequenceCache::swapped(SequenceId id) const {
  return at(id).swapped;
}
std::uint32_t SequenceCache::computed(SequenceId id) const {
  return at(id).computed;
}
std::uint32_t SequenceCache::device_pages(SequenceId id) const {
  return static_cast<std::uint32_t>(at(id).table.pages().size());
}
std::uint32_t SequenceCache::sole_pages(SequenceId id) const {
  return at(id).table.sole_pages() + compressed_pages(id);
}
std::uint32_t SequenceCache::tail_copies(SequenceId id) const {
  return at(id).table.last_needs_copy() ? 1 : 0;
}
std::uint32_t SequenceCache::host_pages(SequenceId id) const {
  return static_cast<std::uint32_t>(at(id).host.size());
}
std::span<const std::uint32_t> SequenceCache::table(SequenceId id) const {
  return at(id).table.pages();
}

std::vector<PinnedPage> SequenceCache::pin(SequenceId id) {
  const Sequence& s = at(id);
  std::vector<PinnedPage> pins;
  for (std::uint32_t i = 0; i < s.table.pages().size(); ++i) pins.push_back(pool_.pin(s.table.ref(i)));
  return pins;
}

PlanMoves SequenceCache::take_moves() {
  ++plan_;
  keep_pages_.clear();
  keep_host_.clear();
  return std::exchange(moves_, {});
}

CacheUsage SequenceCache::usage() const {
  return {.pages = pool_.pages(),
          .used = pool_.used(),
          .reusable = pool_.reusable(),
          .free = pool_.free(),
          .host_pages = host_.slots(),
          .host_free = host_.free(),
          .indexed_pages = index_.entries(),
          .evictions = index_.evictions()};
}

}  // namespace leadline::worker
