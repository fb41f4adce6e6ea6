#pragma once
// ShmSegment: the shared memory of one group on one host: a counter and two slots per rank. Not the algorithm
// on it (shm_communicator). Its name is removed as soon as every rank has it open, so nothing stays behind
// after a crash. Thread: values in it are atomics; the mapping itself is constant after open.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "transport/errc.h"

namespace leadline::transport {

class ShmSegment {
 public:
  static constexpr std::size_t kSlotBytes = std::size_t{256} << 10;

  // One rank's part of the control block, alone in its cache lines.
  struct alignas(128) RankCell {
    std::atomic<std::uint32_t> posted{0};   // rounds that this rank has entered; also the futex word
    std::atomic<std::uint32_t> waiters{0};  // ranks asleep on it
    std::uint64_t bytes[2] = {0, 0};        // in slot 0 and 1; written before `posted`
  };

  // Rank 0: makes it; io when /dev/shm has no room. Others: opens what rank 0 named.
  static Result<std::unique_ptr<ShmSegment>> create(int ranks);
  static Result<std::unique_ptr<ShmSegment>> open(const std::string& name, int ranks);
  ~ShmSegment();
  ShmSegment(const ShmSegment&) = delete;
  ShmSegment& operator=(const ShmSegment&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  void unlink();  // every rank has it open

  // Set once the group is dead, by whoever learns of it first: a rank that comes late must not go on with old
  // posts.
  [[nodiscard]] std::atomic<std::uint32_t>& dead() const { return cells_[ranks_].posted; }
  [[nodiscard]] RankCell& cell(int rank) const { return cells_[rank]; }
  [[nodiscard]] std::byte* slot(int rank, int which) const {
    return slots_ + (static_cast<std::size_t>(rank) * 2 + static_cast<std::size_t>(which)) * kSlotBytes;
  }

 private:
  ShmSegment(std::string name, bool owner, void* base, std::size_t bytes, int ranks);
  const std::string name_;
  bool linked_;  // rank 0, until unlink
  void* const base_;
  const std::size_t bytes_;
  const int ranks_;
  RankCell* const cells_;
  std::byte* const slots_;
};

}  // namespace leadline::transport
