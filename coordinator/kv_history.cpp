#include "coordinator/kv_history.h"

#include <algorithm>

namespace leadline::coordinator {

void KvHistory::add(KvHistoryEntry entry, std::size_t limit) {
  entries_.push_back(std::move(entry));
  while (entries_.size() > limit) entries_.pop_front();
}

std::vector<const KvHistoryEntry*> KvHistory::find(std::string_view tenant,
                                                   std::string_view request_id) const {
  std::vector<const KvHistoryEntry*> found;
  for (const KvHistoryEntry& entry : entries_) {
    if (entry.tenant != tenant || entry.request_id != request_id) continue;
    if (!found.empty() && found.front()->received_ms != entry.received_ms) found.clear();
    found.push_back(&entry);
  }
  std::ranges::sort(found, {}, [](const KvHistoryEntry* entry) { return entry->choice; });
  return found;
}

}  // namespace leadline::coordinator
