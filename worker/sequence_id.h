#pragma once
// SequenceId: one generation inside this worker, from submission to its finish. Made by rank 0, never reused
// while the process lives. Not the coordinator's RequestId. Here because cache, scheduler and runtime all
// name sequences by it. Thread: value.

#include <compare>
#include <cstdint>
#include <functional>

namespace leadline::worker {

struct SequenceId {
  std::uint64_t value = 0;
  friend auto operator<=>(SequenceId, SequenceId) = default;
};

}  // namespace leadline::worker

template <>
struct std::hash<leadline::worker::SequenceId> {
  std::size_t operator()(leadline::worker::SequenceId id) const noexcept {
    return std::hash<std::uint64_t>{}(id.value);
  }
};
