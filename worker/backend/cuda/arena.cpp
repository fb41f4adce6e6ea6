#include "worker/backend/cuda/arena.h"

#include <algorithm>
#include <cstdio>

#include "monitoring/check.h"

namespace leadline::worker::cuda {

namespace {

std::string megabytes(std::int64_t bytes) {
  char text[48];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

}  // namespace

Arena::Arena(DeviceMemory memory, std::int64_t total) : memory_(std::move(memory)), total_(total) {
  free_[0] = total;
}

Result<std::unique_ptr<Arena>> Arena::open(Runtime& runtime, double utilization) {
  const DeviceInfo info = runtime.info();
  const std::string numbers = "GPU " + info.name + " has " + megabytes(info.free_bytes) + " free of " +
                              megabytes(info.total_bytes) + ", gpu-memory-utilization " +
                              std::to_string(utilization);
  if (!(utilization > 0 && utilization <= 1))
    return monitoring::fail(Errc::configuration, "gpu-memory-utilization " + std::to_string(utilization) +
                                                     ": not above 0 and up to 1");
  const auto bytes =
      static_cast<std::int64_t>(static_cast<double>(info.free_bytes) * utilization) / kAlignment * kAlignment;
  void* memory = bytes > 0 ? runtime.allocate(bytes) : nullptr;
  if (memory == nullptr)
    return monitoring::fail(Errc::out_of_memory, "no " + megabytes(bytes) + " of device memory: " + numbers);
  return std::unique_ptr<Arena>(new Arena(DeviceMemory(runtime, memory), bytes));
}

Result<void*> Arena::take(std::int64_t bytes, std::string_view what) {
  LEADLINE_CHECK(bytes >= 0, "negative size");
  if (bytes > total_)
    return monitoring::fail(Errc::out_of_memory, "cannot allocate " + std::to_string(bytes) + " bytes for " +
                                                     std::string(what) + ": the arena has " +
                                                     std::to_string(total_));
  const std::int64_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  for (auto at = free_.begin(); at != free_.end(); ++at) {
    if (at->second < rounded) continue;
    const auto [offset, size] = *at;
    free_.erase(at);
    if (size > rounded) free_[offset + rounded] = size - rounded;
    taken_[offset] = {rounded, std::string(what)};
    return static_cast<std::byte*>(memory_.get()) + offset;
  }
  return monitoring::fail(Errc::out_of_memory, "cannot allocate " + std::to_string(bytes) + " bytes for " +
                                                   std::string(what) + " on the device: " + table());
}

void Arena::give(void* piece) {
  const std::int64_t offset = static_cast<std::byte*>(piece) - static_cast<std::byte*>(memory_.get());
  const auto found = taken_.find(offset);
  LEADLINE_CHECK(found != taken_.end(), "giving back what the arena did not hand out");
  auto at = free_.emplace(offset, found->second.bytes).first;
  taken_.erase(found);
  if (const auto next = std::next(at); next != free_.end() && at->first + at->second == next->first) {
    at->second += next->second;
    free_.erase(next);
  }
  if (at != free_.begin()) {
    const auto before = std::prev(at);
    if (before->first + before->second == at->first) {
      before->second += at->second;
      free_.erase(at);
    }
  }
}

std::int64_t Arena::free_bytes() const {
  std::int64_t sum = 0;
  for (const auto& [offset, bytes] : free_) sum += bytes;
  return sum;
}

std::int64_t Arena::largest_bytes() const {
  std::int64_t most = 0;
  for (const auto& [offset, bytes] : free_) most = std::max(most, bytes);
  return most;
}

std::string Arena::table() const {
  std::map<std::string, std::int64_t> sums;
  for (const auto& [offset, piece] : taken_) sums[piece.what] += piece.bytes;
  std::vector<std::pair<std::int64_t, std::string>> rows;
  for (const auto& [what, bytes] : sums) rows.emplace_back(bytes, what);
  std::sort(rows.rbegin(), rows.rend());
  std::string text;
  for (const auto& [bytes, what] : rows) text += what + " " + megabytes(bytes) + ", ";
  return text + "free " + megabytes(free_bytes()) + " of " + megabytes(total_) + ", in one piece " +
         megabytes(largest_bytes());
}

}  // namespace leadline::worker::cuda
