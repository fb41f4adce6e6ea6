#pragma once
// AccessRecord: one line of a store's access log: a request looked for a block, or a block was stored. No
// tokens, no text; keys are cut to 8 bytes of a salted hash. Policy-free: what a request needed is recorded
// whether it was there or not, so that any policy can be replayed over it. Format:
// docs/formats/kv_access_log.md.

#include <cstdint>

namespace leadline::kvstore {

enum class Access : std::uint8_t {
  look = 0,  // a request needs this block
  put = 1,   // it was computed and offered to the store
};

struct AccessRecord {
  double time_s = 0;  // since the log began
  std::uint64_t key = 0, parent = 0;
  std::uint32_t request = 0;  // records of one request are its chain in order
  std::uint32_t depth = 0;
  std::uint32_t bytes = 0;  // in a tier
  float cost_s = 0;         // of a miss: min(recompute, reload from elsewhere)
  Access access = Access::look;
  friend bool operator==(const AccessRecord&, const AccessRecord&) = default;
};

}  // namespace leadline::kvstore
