#pragma once
// DiskAudit: a block directory looked at from outside, beside whatever servers use it: what lies there, what
// is damaged, what may go. Not a tier: nothing is stored and nothing is read for a request. choose_garbage()
// is the decision and pure; remove_blocks() the doing. Thread: the caller's. Invariants:
//   1. A block that is removed was whole to the last: a server that wants it misses it.
//   2. Bytes of removed files are given back to the count that the directory's users share.
//   3. A chain loses its end first, as everywhere.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvstore/disk_files.h"

namespace leadline::kvstore {

struct GarbageRules {
  bool expired = true;
  std::optional<std::uint64_t> older_than_s;  // since it was stored or first read by a start
  std::optional<std::uint64_t> max_bytes;     // what may stay, oldest leaves go first
  std::string model;                          // only blocks whose fingerprint begins so; "" = all
};

// Indices of what goes, in the order of going. Damaged ones (no header) never do: they are evidence.
std::vector<std::size_t> choose_garbage(std::span<const DiskFiles::Found> blocks, const GarbageRules& rules,
                                        std::uint64_t unix_now_s);

struct Removed {
  std::uint64_t blocks = 0, bytes = 0;  // as the directory's users count them
  std::uint64_t gone = 0;               // another process was first
  std::uint64_t failed = 0;
  std::string why;  // of the first that failed
};
// `all`: every block that was found; needed to count anew where nobody else uses the directory.
Result<Removed> remove_blocks(DiskFiles& files, std::span<const DiskFiles::Found> all,
                              std::span<const std::size_t> which);

// Deletes what servers put aside: only people ask for this.
Result<Removed> empty_quarantine(DiskFiles& files);

// What people write: 90, 90s, 15m, 6h, 7d. None: not such a time.
std::optional<std::uint64_t> parse_age(std::string_view text);

}  // namespace leadline::kvstore
