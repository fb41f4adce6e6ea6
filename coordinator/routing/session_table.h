#pragma once
// SessionTable: what a past turn leaves behind: the worker that served it, and its text with the token ids
// that were really used, so that the next turn can splice them in (exactness X8). Bounded by entries, bytes
// and age. Not a cache of answers. Thread: the I/O thread. Invariant: nothing is found under another tenant's
// name.

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/limits.h"
#include "transport/control/ids.h"

namespace leadline::coordinator {

struct SessionTurn {
  transport::SessionId session;
  transport::WorkerId worker;
  std::string text;                        // rendered prompt and the answer's own text, specials written out
  std::vector<transport::TokenId> tokens;  // exactly what the worker saw and made for `text`; may be empty
};

class SessionTable {
 public:
  explicit SessionTable(const Limits& limits) : limits_(limits) {}

  void put(const std::string& tenant, const std::string& key, SessionTurn turn, std::uint64_t now_ms);
  // Null when unknown or expired; valid until the next put. Touches the entry.
  const SessionTurn* find(const std::string& tenant, const std::string& key, std::uint64_t now_ms);
  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::string key;
    SessionTurn turn;
    std::uint64_t used_ms = 0;
    std::size_t bytes() const {
      return key.size() + turn.text.size() + turn.tokens.size() * sizeof(transport::TokenId) + 128;
    }
  };
  void erase(std::list<Entry>::iterator it);

  const Limits& limits_;
  std::list<Entry> by_age_;  // least recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> entries_;
  std::size_t bytes_ = 0;
};

}  // namespace leadline::coordinator
