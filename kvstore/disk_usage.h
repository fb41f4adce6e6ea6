#pragma once
// DiskUsage: how many bytes the processes that share one block directory have spent, in a file that all of
// them map. Not an index and not a limit per process. Thread: any; atomics in shared memory. Invariants:
//   1. Bytes are taken before they are written and given back after they are gone: a process that dies in
//   between
//      leaves the number too high, never too low, so the bound holds.
//   2. The first process on a directory that nobody uses counts it anew (recount()), which mends 1.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "kvstore/errc.h"

namespace leadline::kvstore {

class DiskUsage {
 public:
  // Joins the users of `root`; alone() says whether there were none.
  static Result<std::unique_ptr<DiskUsage>> open(const std::string& root);
  ~DiskUsage();
  DiskUsage(const DiskUsage&) = delete;
  DiskUsage& operator=(const DiskUsage&) = delete;

  [[nodiscard]] bool alone() const { return alone_; }
  void recount(std::uint64_t bytes);  // REQUIRES: alone(); ends being alone: others may join from now on
  [[nodiscard]] bool take(std::uint64_t bytes, std::uint64_t capacity);  // false: not within the capacity
  void give_back(std::uint64_t bytes);
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  struct Shared;
  DiskUsage(int lock, int file, Shared* shared, bool alone)
      : lock_(lock), file_(file), shared_(shared), alone_(alone) {}
  const int lock_, file_;
  Shared* const shared_;
  std::atomic<bool> alone_;
};

}  // namespace leadline::kvstore
