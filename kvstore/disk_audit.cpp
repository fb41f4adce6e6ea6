#include "kvstore/disk_audit.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <queue>
#include <unordered_map>

#include "kvstore/disk_usage.h"

namespace leadline::kvstore {
namespace {

std::uint64_t modified_s(const DiskFiles::Found& block) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(block.modified_ns, 0)) / 1'000'000'000;
}

// Blocks that stay, as chains: the oldest leaf leaves, then its parent may be a leaf.
class Leaves {
 public:
  Leaves(std::span<const DiskFiles::Found> blocks, const std::vector<bool>& taken) : blocks_(blocks) {
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (!blocks[i].header || taken[i]) continue;
      at_[blocks[i].id] = i;
      ++children_[parent_of(i)];
    }
    for (const auto& [id, i] : at_)
      if (!children_.contains(id)) push(i);
  }
  std::optional<std::size_t> take_oldest() {
    if (line_.empty()) return std::nullopt;
    const std::size_t i = line_.top().second;
    line_.pop();
    const BlockId parent = parent_of(i);
    if (--children_[parent] == 0)
      if (const auto it = at_.find(parent); it != at_.end() && it->second != i) push(it->second);
    return i;
  }

 private:
  using Aged = std::pair<std::int64_t, std::size_t>;
  [[nodiscard]] BlockId parent_of(std::size_t i) const {
    return {blocks_[i].header->parent, blocks_[i].id.head};
  }
  void push(std::size_t i) { line_.push({blocks_[i].modified_ns, i}); }
  std::span<const DiskFiles::Found> blocks_;
  std::unordered_map<BlockId, std::size_t> at_;
  std::unordered_map<BlockId, std::uint32_t> children_;
  std::priority_queue<Aged, std::vector<Aged>, std::greater<>> line_;
};

}  // namespace

std::vector<std::size_t> choose_garbage(std::span<const DiskFiles::Found> blocks, const GarbageRules& rules,
                                        std::uint64_t unix_now_s) {
  std::vector<std::size_t> out;
  std::vector<bool> taken(blocks.size(), false);
  std::uint64_t left = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const DiskFiles::Found& block = blocks[i];
    if (!block.header) continue;
    if (!block.header->fingerprint.starts_with(rules.model)) {
      taken[i] = true;  // not ours to judge: stays, and is not counted
      continue;
    }
    const std::uint64_t expires = block.header->expires_unix_s, since = modified_s(block);
    const bool old = rules.older_than_s && unix_now_s > since && unix_now_s - since > *rules.older_than_s;
    if ((rules.expired && expires != 0 && expires <= unix_now_s) || old) {
      taken[i] = true;
      out.push_back(i);
    } else {
      left += file_cost(block.size);
    }
  }
  std::ranges::sort(out, std::greater<>(), [&](std::size_t i) { return blocks[i].header->depth; });
  if (!rules.max_bytes || left <= *rules.max_bytes) return out;
  Leaves leaves(blocks, taken);
  while (left > *rules.max_bytes) {
    const auto next = leaves.take_oldest();
    if (!next) break;
    left -= file_cost(blocks[*next].size);
    out.push_back(*next);
  }
  return out;
}

Result<Removed> remove_blocks(DiskFiles& files, std::span<const DiskFiles::Found> all,
                              std::span<const std::size_t> which) {
  auto usage = DiskUsage::open(files.directory());
  if (!usage) return tl::unexpected(usage.error());
  if ((*usage)->alone()) {  // nobody keeps the number: it is made right first, then servers may join
    files.remove_stale_temps();
    std::uint64_t bytes = files.quarantined_bytes();
    for (const DiskFiles::Found& block : all) bytes += block.header ? file_cost(block.size) : 0;
    (*usage)->recount(bytes);
  }
  Removed removed;
  for (const std::size_t i : which) {
    const FileResult result = files.remove(all[i].id);
    if (result.outcome == FileOutcome::ok) {
      ++removed.blocks;
      removed.bytes += file_cost(all[i].size);
      (*usage)->give_back(file_cost(all[i].size));
    } else if (result.outcome == FileOutcome::absent) {
      ++removed.gone;
    } else if (removed.failed++ == 0) {
      removed.why = result.why;
    }
  }
  return removed;
}

Result<Removed> empty_quarantine(DiskFiles& files) {
  auto usage = DiskUsage::open(files.directory());
  if (!usage) return tl::unexpected(usage.error());
  const bool alone = (*usage)->alone();
  Removed removed;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(files.directory() + "/quarantine", error)) {
    std::error_code inner;
    const std::uint64_t cost = file_cost(entry.file_size(inner));
    if (inner || !std::filesystem::remove(entry.path(), inner)) {
      ++removed.failed;
      removed.why = inner.message();
      continue;
    }
    ++removed.blocks;
    removed.bytes += cost;
    if (!alone) (*usage)->give_back(cost);  // else the next start counts anew
  }
  return removed;
}

std::optional<std::uint64_t> parse_age(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  std::uint64_t seconds = 0;
  if (unit.empty() || unit == "s") seconds = 1;
  if (unit == "m") seconds = 60;
  if (unit == "h") seconds = 3600;
  if (unit == "d") seconds = 86400;
  if (seconds == 0 || number > std::numeric_limits<std::uint64_t>::max() / seconds) return std::nullopt;
  return number * seconds;
}

}  // namespace leadline::kvstore
