#pragma once
// PolicySlot: the exit policy in use, exchanged as a whole while steps run. Not a loader and not a decision.
// Thread: any thread puts; the step thread of rank 0 takes one between steps and keeps it for the step.
// Guarded by its own mutex, held for a pointer's copy. shared_ptr: the step that still decides by the old one
// keeps it alive.

#include <cstdint>
#include <memory>
#include <mutex>

#include "policy/exit_policy.h"

namespace leadline::worker {

class PolicySlot {
 public:
  using Policy = std::shared_ptr<const policy::ExitPolicy>;
  explicit PolicySlot(Policy first) : policy_(std::move(first)) {}

  void put(Policy policy) {
    const std::lock_guard lock(mutex_);
    policy_ = std::move(policy);
    ++puts_;
  }
  [[nodiscard]] Policy take() const {
    const std::lock_guard lock(mutex_);
    return policy_;
  }
  [[nodiscard]] std::uint64_t puts() const {
    const std::lock_guard lock(mutex_);
    return puts_;
  }

 private:
  mutable std::mutex mutex_;
  Policy policy_;  // guarded by mutex_, as is the count
  std::uint64_t puts_ = 0;
};

}  // namespace leadline::worker
