#include "coordinator/routing/session_table.h"

namespace leadline::coordinator {

namespace {

// The length goes first: no pair of tenant and key can be read as another pair.
std::string joined(const std::string& tenant, const std::string& key) {
  return std::to_string(tenant.size()) + ":" + tenant + "|" + key;
}

}  // namespace

void SessionTable::erase(std::list<Entry>::iterator it) {
  bytes_ -= it->bytes();
  entries_.erase(it->key);
  by_age_.erase(it);
}

void SessionTable::put(const std::string& tenant, const std::string& key, SessionTurn turn,
                       std::uint64_t now_ms) {
  const std::string name = joined(tenant, key);
  if (const auto found = entries_.find(name); found != entries_.end()) erase(found->second);
  Entry entry{name, std::move(turn), now_ms};
  if (entry.bytes() > limits_.session_bytes) return;
  bytes_ += entry.bytes();
  entries_.emplace(name, by_age_.insert(by_age_.end(), std::move(entry)));
  while (entries_.size() > limits_.sessions || bytes_ > limits_.session_bytes ||
         by_age_.front().used_ms + limits_.session_ttl_ms < now_ms) {
    erase(by_age_.begin());
  }
}

const SessionTurn* SessionTable::find(const std::string& tenant, const std::string& key,
                                      std::uint64_t now_ms) {
  const auto found = entries_.find(joined(tenant, key));
  if (found == entries_.end()) return nullptr;
  if (found->second->used_ms + limits_.session_ttl_ms < now_ms) {
    erase(found->second);
    return nullptr;
  }
  found->second->used_ms = now_ms;
  by_age_.splice(by_age_.end(), by_age_, found->second);
  return &found->second->turn;
}

}  // namespace leadline::coordinator
