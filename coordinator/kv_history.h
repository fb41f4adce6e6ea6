#pragma once
// KvHistory: where the KV of the last requests' prompts came from, as their workers told at the end; what GET
// /v1/kv/explain reads. Not a log and not metrics: gone with the process. Thread: the I/O thread.
// Invariants: at most `limit` choices, the oldest forgotten first; find() tells a tenant of its own requests
// only.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/generation.h"

namespace leadline::coordinator {

struct KvHistoryEntry {  // one choice of one request
  std::string tenant, request_id;
  std::uint64_t received_ms = 0;  // tells two requests of one id apart
  std::uint32_t choice = 0;
  std::uint32_t worker = 0;
  GenerationResult result;
};

class KvHistory {
 public:
  void add(KvHistoryEntry entry, std::size_t limit);
  // The choices of the tenant's newest request of this id, in order; empty: not known (any more). Valid until
  // the next add.
  [[nodiscard]] std::vector<const KvHistoryEntry*> find(std::string_view tenant,
                                                        std::string_view request_id) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  std::deque<KvHistoryEntry> entries_;  // oldest first
};

}  // namespace leadline::coordinator
