#pragma once
// SlotGroups: what becomes of the slots of one KV head: each group is one slot of the compressed cache, made
// of the slots that it names. Not keys and not pages. Thread: values. Invariants: a slot is in at most one
// group; members ascend within a group, groups ascend by their first member; a slot in no group is dropped.

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace leadline::worker {

struct SlotGroups {
  std::vector<std::uint32_t> begin = {0};  // (groups + 1) offsets into members
  std::vector<std::uint32_t> members;

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(begin.size() - 1); }
  [[nodiscard]] std::span<const std::uint32_t> group(std::uint32_t g) const {
    return std::span(members).subspan(begin[g], begin[g + 1] - begin[g]);
  }
  void add_one(std::uint32_t slot) {
    members.push_back(slot);
    close();
  }
  void close() { begin.push_back(static_cast<std::uint32_t>(members.size())); }
  [[nodiscard]] bool merges() const { return members.size() != size(); }  // some group has several members
  friend bool operator==(const SlotGroups&, const SlotGroups&) = default;
};

// Every slot is a group of its own: what compression off is.
inline SlotGroups all_slots(std::uint32_t slots) {
  SlotGroups groups;
  groups.members.resize(slots);
  groups.begin.resize(slots + 1);
  std::iota(groups.members.begin(), groups.members.end(), 0U);
  std::iota(groups.begin.begin(), groups.begin.end(), 0U);
  return groups;
}

// K and V of the slots of one head, and of the compressed ones with their logit bias.
struct HeadSlots {
  std::span<const float> keys, values;  // (slots, head_dim)
  std::uint32_t head_dim = 0;
};
struct MergedSlots {
  std::span<float> keys, values;  // (groups, head_dim)
  std::span<float> bias;          // (groups)
};

}  // namespace leadline::worker
