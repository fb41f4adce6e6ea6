#include "coordinator/text/merge_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace leadline::coordinator {
namespace {

struct Rule {
  std::uint32_t rank;
  TokenId merged;
};
using Rules = std::map<std::pair<TokenId, TokenId>, Rule>;

// The definition: again and again the lowest rank, leftmost.
std::vector<TokenId> merge_by_definition(std::vector<TokenId> ids, const Rules& rules) {
  for (;;) {
    std::size_t best = ids.size();
    std::uint32_t rank = MergeTable::kNone;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto rule = rules.find({ids[i], ids[i + 1]});
      if (rule != rules.end() && rule->second.rank < rank) best = i, rank = rule->second.rank;
    }
    if (best == ids.size()) return ids;
    ids[best] = rules.at({ids[best], ids[best + 1]}).merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

// Random merges of texts over three letters, as training would give: each new token joins two that exist.
Rules random_rules(std::mt19937& rng, MergeTable& table) {
  std::vector<std::string> texts = {"a", "b", "c"};
  Rules rules;
  for (std::uint32_t rank = 0; rank < 40; ++rank) {
    const auto left = static_cast<TokenId>(rng() % texts.size()),
               right = static_cast<TokenId>(rng() % texts.size());
    const std::string text = texts[left] + texts[right];
    if (text.size() > 8 || rules.contains({left, right})) continue;
    const auto found = std::find(texts.begin(), texts.end(), text);
    const auto merged = static_cast<TokenId>(found - texts.begin());
    if (found == texts.end()) texts.push_back(text);
    rules[{left, right}] = {rank, merged};
  }
  table.reserve(rules.size());
  for (const auto& [pair, rule] : rules) table.add(pair.first, pair.second, rule.rank, rule.merged);
  return rules;
}

TEST(MergeTable, ScanAndHeapFollowTheDefinition) {
  std::mt19937 rng(7);
  MergeScratch scratch;
  for (int round = 0; round < 300; ++round) {
    MergeTable table;
    const Rules rules = random_rules(rng, table);
    for (const std::size_t length : {1u, 2u, 5u, 31u, 32u, 33u, 200u}) {  // the scan ends at 32
      std::vector<TokenId> ids(length);
      for (TokenId& id : ids) id = static_cast<TokenId>(rng() % 3);
      const std::vector<TokenId> want = merge_by_definition(ids, rules);
      table.apply(ids, scratch);
      ASSERT_EQ(ids, want) << "round " << round << " length " << length;
    }
  }
}

TEST(MergeTable, ALaterRuleForAPairWins) {
  MergeTable table;
  table.reserve(2);
  table.add(1, 2, 5, 10);
  table.add(1, 2, 3, 11);
  EXPECT_EQ(table.find(1, 2).merged, 11);
  EXPECT_EQ(table.find(1, 2).rank, 3u);
  EXPECT_EQ(table.find(2, 1).rank, MergeTable::kNone);
  EXPECT_EQ(table.find(-1, 2).rank, MergeTable::kNone);
}

}  // namespace
}  // namespace leadline::coordinator
