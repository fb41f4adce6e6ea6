#pragma once
// PackedMapping: a packed weight file as read-only memory, so that a start waits for no memory of its own;
// PackedMover: moves it, 2 MiB at a time and under the same addresses, into huge pages of the process while
// steps run. Not the format and not the checksums (packed_cache). Thread: any reads; move() is the mover's.
// Invariants: every address keeps its bytes before, during and after the move (the kernel exchanges pages
// while it holds off page faults); after the move the file's pages are not used.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <thread>

#include "worker/errc.h"

namespace leadline::worker {

using LoadLog = std::function<void(std::string_view message)>;  // any thread

class PackedMapping {
 public:
  // The first `bytes` of `file`, which may be closed after. io: why not, as mmap says.
  static Result<std::shared_ptr<PackedMapping>> map(int file, std::int64_t bytes);
  ~PackedMapping();
  PackedMapping(const PackedMapping&) = delete;
  PackedMapping& operator=(const PackedMapping&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, bytes_}; }
  // Maps the pages of a part of bytes(); false: the file can't be read there.
  [[nodiscard]] static bool bring_in(std::span<const std::byte> part);

  // Once, by one thread: until done or stopped, resting between pieces. out_of_memory: what was not moved
  // stays in the file's pages.
  using RestAfterPiece = std::function<std::chrono::milliseconds(std::chrono::nanoseconds took)>;
  Result<void> move(const std::stop_token& stop, const RestAfterPiece& rest);
  [[nodiscard]] std::int64_t left() const { return left_.load(std::memory_order_relaxed); }

 private:
  PackedMapping() = default;

  // Constant after map.
  std::byte* reserved_ = nullptr;  // data_ begins at a huge page of it
  std::size_t reserved_bytes_ = 0;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  // Synchronises itself.
  std::atomic<std::int64_t> left_{0};
};

// How long the mover rests after a piece that took `took`: not at all while the process's other threads use
// next to no core, for on small pages a step takes 1.09 (int8) to 1.24 (bf16) times as long; beside work so
// long that it takes a fifth of a core, for a step's threads wait for the one that it held up. Pure.
std::chrono::milliseconds rest_after_piece(std::chrono::nanoseconds took, double other_cores);

// Moves a mapping in the background, piece by piece, from `after` on.
class PackedMover {
 public:
  PackedMover(std::shared_ptr<PackedMapping> mapping, std::chrono::milliseconds after, LoadLog log);
  ~PackedMover();  // stops within a piece; the weights stay readable
  PackedMover(const PackedMover&) = delete;
  PackedMover& operator=(const PackedMover&) = delete;

  [[nodiscard]] std::int64_t left() const { return mapping_->left(); }

 private:
  const std::shared_ptr<PackedMapping> mapping_;
  std::jthread thread_;
};

}  // namespace leadline::worker
