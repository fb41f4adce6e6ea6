// Random operations on PagePool and PrefixIndex against a model that keeps counts in plain maps.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "worker/kvcache/prefix_index.h"

namespace leadline::worker {
namespace {

constexpr std::uint32_t kPages = 12;

struct World {
  PagePool pool{kPages};
  PrefixIndex index{pool};
  std::vector<PageRef> refs;
  std::vector<PinnedPage> pins;
  std::map<std::uint8_t, std::uint32_t> key_to_page;  // the model's index
  std::vector<std::uint32_t> reusable;                // the model's order, oldest first

  static kvstore::BlockKey key(std::uint8_t n) {
    kvstore::BlockKey k;
    k.bytes[0] = n;
    return k;
  }
  std::uint32_t holders(std::uint32_t page) const {
    const auto names = [page](const auto& h) { return h.id().value == page; };
    return static_cast<std::uint32_t>(std::count_if(refs.begin(), refs.end(), names) +
                                      std::count_if(pins.begin(), pins.end(), names));
  }
  bool committed(std::uint32_t page) const {
    return std::any_of(key_to_page.begin(), key_to_page.end(),
                       [page](const auto& e) { return e.second == page; });
  }
  void dropped(std::uint32_t page) {
    if (holders(page) == 0 && committed(page)) reusable.push_back(page);
  }
  void taken(std::uint32_t page) { std::erase(reusable, page); }
  void evicted() {
    std::erase_if(key_to_page, [&](const auto& e) { return e.second == reusable.front(); });
    reusable.erase(reusable.begin());
  }
};

void step(World& w, std::mt19937& rng) {
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(rng() % n); };
  switch (rng() % 8) {
    case 0:
    case 1: {
      auto page = w.pool.allocate();
      if (!page) {
        if (w.index.evict(1) == 1) w.evicted();
        page = w.pool.allocate();
      }
      EXPECT_EQ(page.has_value(), w.pool.used() < kPages || page);
      if (page) {
        EXPECT_EQ(w.holders(page->id().value), 0U) << "a page has two owners";
        w.refs.push_back(std::move(*page));
      }
      break;
    }
    case 2:
      if (!w.refs.empty()) w.refs.push_back(w.refs[pick(w.refs.size())].share());
      break;
    case 3:
      if (!w.refs.empty()) w.pins.push_back(w.pool.pin(w.refs[pick(w.refs.size())]));
      break;
    case 4: {
      if (w.refs.empty()) break;
      std::swap(w.refs[pick(w.refs.size())], w.refs.back());
      const std::uint32_t page = w.refs.back().id().value;
      w.refs.pop_back();
      w.dropped(page);
      break;
    }
    case 5: {
      if (w.pins.empty()) break;
      std::swap(w.pins[pick(w.pins.size())], w.pins.back());
      const std::uint32_t page = w.pins.back().id().value;
      w.pins.pop_back();
      w.dropped(page);
      break;
    }
    case 6: {
      if (w.refs.empty()) break;
      const PageRef& ref = w.refs[pick(w.refs.size())];
      const auto k = static_cast<std::uint8_t>(rng() % 24);
      if (w.committed(ref.id().value)) break;
      PageRef other = w.index.insert(World::key(k), ref);
      if (const auto it = w.key_to_page.find(k); it != w.key_to_page.end()) {
        ASSERT_TRUE(other);
        EXPECT_EQ(other.id().value, it->second);
        w.taken(it->second);
        w.refs.push_back(std::move(other));
      } else {
        EXPECT_FALSE(other);
        w.key_to_page[k] = ref.id().value;
      }
      break;
    }
    case 7: {
      const auto k = static_cast<std::uint8_t>(rng() % 24);
      PageRef ref = w.index.hold(World::key(k));
      ASSERT_EQ(static_cast<bool>(ref), w.key_to_page.contains(k));
      if (!ref) break;
      EXPECT_EQ(ref.id().value, w.key_to_page[k]);
      w.taken(ref.id().value);
      w.refs.push_back(std::move(ref));
      break;
    }
  }
}

void compare(const World& w) {
  std::set<std::uint32_t> held;
  for (const PageRef& r : w.refs) held.insert(r.id().value);
  for (const PinnedPage& p : w.pins) held.insert(p.id().value);
  ASSERT_EQ(w.pool.used(), held.size());
  ASSERT_EQ(w.pool.reusable(), w.reusable.size());
  ASSERT_EQ(w.pool.free(), kPages - held.size() - w.reusable.size());
  const std::vector<PageId> order = w.pool.eviction_order(kPages);
  ASSERT_TRUE(std::equal(order.begin(), order.end(), w.reusable.begin(), w.reusable.end(),
                         [](PageId a, std::uint32_t b) { return a.value == b; }));
  ASSERT_EQ(w.index.entries(), w.key_to_page.size());
}

TEST(PagePoolProperty, AgreesWithTheModel) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    World w;
    std::mt19937 rng(seed);
    for (int i = 0; i < 500; ++i) {
      step(w, rng);
      compare(w);
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", step " << i;
    }
    w.refs.clear();
    w.pins.clear();
    EXPECT_EQ(w.pool.used(), 0U);
  }
}

}  // namespace
}  // namespace leadline::worker
