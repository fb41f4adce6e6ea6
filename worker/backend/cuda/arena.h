#pragma once
// Arena: the one block of device memory that a backend takes at start, handed out in pieces, and the table of
// where it went. Not an allocator for speed: pieces are made at start and when scratch grows. Thread: the
// runtime's owner. Invariants: pieces are aligned to 256 bytes and never overlap; free neighbours are joined;
// first fit.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worker/backend/cuda/cuda_check.h"

namespace leadline::worker::cuda {

class Arena {
 public:
  static constexpr std::int64_t kAlignment = 256;

  // A share of the device's free memory, in (0, 1]. out_of_memory with the numbers.
  static Result<std::unique_ptr<Arena>> open(Runtime& runtime, double utilization);

  // out_of_memory names `what`, the bytes and what is free. 0 bytes is a valid piece.
  Result<void*> take(std::int64_t bytes, std::string_view what);
  void give(void* piece);

  [[nodiscard]] std::int64_t total_bytes() const { return total_; }
  [[nodiscard]] std::int64_t free_bytes() const;     // in all
  [[nodiscard]] std::int64_t largest_bytes() const;  // in one piece
  // "weights 16.1 GB, KV pool 100.2 GB, ..., free 1.0 GB", largest first.
  [[nodiscard]] std::string table() const;

 private:
  struct Piece {
    std::int64_t bytes = 0;
    std::string what;
  };
  Arena(DeviceMemory memory, std::int64_t total);

  const DeviceMemory memory_;
  const std::int64_t total_;
  std::map<std::int64_t, std::int64_t> free_;  // offset -> bytes
  std::map<std::int64_t, Piece> taken_;        // offset -> piece
};

// A piece, given back with the object.
class ArenaPiece {
 public:
  ArenaPiece() = default;
  ArenaPiece(Arena& arena, void* data, std::int64_t bytes) : arena_(&arena), data_(data), bytes_(bytes) {}
  ArenaPiece(ArenaPiece&& o) noexcept { swap(o); }
  ArenaPiece& operator=(ArenaPiece&& o) noexcept {
    swap(o);
    return *this;
  }
  ~ArenaPiece() {
    if (data_ != nullptr) arena_->give(data_);
  }
  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }

 private:
  void swap(ArenaPiece& o) {
    std::swap(arena_, o.arena_);
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
  }
  Arena* arena_ = nullptr;
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

}  // namespace leadline::worker::cuda
