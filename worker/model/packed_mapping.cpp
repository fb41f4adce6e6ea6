#include "worker/model/packed_mapping.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

namespace leadline::worker {
namespace {

constexpr std::size_t kPage = 4096, kHugePage = std::size_t{2} << 20;
constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ of Linux 5.14
// A copy takes 0.6 ms, or 4 where the host gives the memory. Pauses, no low priority: who is preempted while
// the kernel exchanges pages holds up every page fault of the process.
constexpr std::chrono::milliseconds kLeastRest{5};
constexpr int kRestOfPiece = 4;     // times as long as a piece took
constexpr double kIdleCores = 0.3;  // other threads that use less compute nothing

std::size_t pages_up(std::size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

std::byte* huge_page_up(std::byte* place) {
  const std::size_t beyond = reinterpret_cast<std::uintptr_t>(place) % kHugePage;
  return place + (kHugePage - beyond) % kHugePage;
}

// Addresses for `bytes` from a huge page's beginning on; null: errno says why not.
std::byte* reserve(std::size_t bytes, int protection) {
  void* place =
      ::mmap(nullptr, bytes + kHugePage, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return place == MAP_FAILED ? nullptr : static_cast<std::byte*>(place);
}

// Memory that pieces are copied to. They leave it from the front.
class FreshMemory {
 public:
  explicit FreshMemory(std::size_t bytes) : begin_(reserve(bytes, PROT_READ | PROT_WRITE)) {
    if (begin_ == nullptr) return;
    end_ = begin_ + bytes + kHugePage;
    std::byte* first = huge_page_up(begin_);
    if (first > begin_) (void)::munmap(begin_, static_cast<std::size_t>(first - begin_));
    begin_ = first;
    (void)::madvise(begin_, bytes, MADV_HUGEPAGE);  // a hint
  }
  ~FreshMemory() {
    if (begin_ != nullptr) (void)::munmap(begin_, static_cast<std::size_t>(end_ - begin_));
  }
  FreshMemory(const FreshMemory&) = delete;
  FreshMemory& operator=(const FreshMemory&) = delete;
  [[nodiscard]] bool had() const { return begin_ != nullptr; }

  // Exchanges [place, place + size) for pages with its first `filled` bytes. Pieces of one mapping that come
  // to lie beside each other become one mapping again, so their number meets no limit.
  bool put(std::byte* place, std::size_t size, std::size_t filled) {
    std::memcpy(begin_, place, filled);
    if (::mremap(begin_, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED) return false;
    begin_ += size;
    return true;
  }

 private:
  std::byte *begin_, *end_ = nullptr;
};

double seconds_of(clockid_t of) {
  timespec t{};
  (void)::clock_gettime(of, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Cores that the process's other threads used since the last call.
class OtherThreads {
 public:
  double cores() {
    const Use before = std::exchange(last_, now());
    return (last_.cpu_s - before.cpu_s) / std::max(last_.at_s - before.at_s, 1e-6);
  }

 private:
  struct Use {
    double at_s, cpu_s;
  };
  static Use now() {
    return {seconds_of(CLOCK_MONOTONIC),
            seconds_of(CLOCK_PROCESS_CPUTIME_ID) - seconds_of(CLOCK_THREAD_CPUTIME_ID)};
  }
  Use last_ = now();
};

// False: stopped.
bool pause_for(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock lock(mutex);
  (void)woken.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

Result<void> failed(Errc code, const char* call) {
  return monitoring::fail(code, std::string(call) + ": " + std::strerror(errno));
}

}  // namespace

Result<std::shared_ptr<PackedMapping>> PackedMapping::map(int file, std::int64_t bytes) {
  const std::shared_ptr<PackedMapping> made(new PackedMapping);
  made->bytes_ = static_cast<std::size_t>(bytes);
  made->left_ = bytes;
  made->reserved_ = reserve(pages_up(made->bytes_), PROT_NONE);
  if (made->reserved_ == nullptr) return tl::unexpected(failed(Errc::io, "reserving addresses").error());
  made->reserved_bytes_ = pages_up(made->bytes_) + kHugePage;
  made->data_ = huge_page_up(made->reserved_);
  if (::mmap(made->data_, made->bytes_, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED)
    return tl::unexpected(failed(Errc::io, "mmap").error());
  return made;
}

PackedMapping::~PackedMapping() {
  if (reserved_ != nullptr) (void)::munmap(reserved_, reserved_bytes_);
}

bool PackedMapping::bring_in(std::span<const std::byte> part) {
  const std::size_t before =
      reinterpret_cast<std::uintptr_t>(part.data()) % kPage;   // in the page it begins in
  auto* begin = const_cast<std::byte*>(part.data()) - before;  // populating writes nothing
  if (::madvise(begin, pages_up(before + part.size()), kPopulateRead) == 0) return true;
  return errno == EINVAL;  // an older kernel: reading brings them in
}

Result<void> PackedMapping::move(const std::stop_token& stop, const RestAfterPiece& rest) {
  FreshMemory fresh(pages_up(bytes_));
  if (!fresh.had()) return failed(Errc::out_of_memory, "mmap");
  for (std::size_t at = 0; at < bytes_; at += kHugePage) {
    const auto begin = std::chrono::steady_clock::now();
    const std::size_t filled = std::min(kHugePage, bytes_ - at);
    if (!fresh.put(data_ + at, pages_up(filled), filled)) return failed(Errc::out_of_memory, "mremap");
    left_.fetch_sub(static_cast<std::int64_t>(filled), std::memory_order_relaxed);
    if (at + filled < bytes_ && !pause_for(rest(std::chrono::steady_clock::now() - begin), stop)) return {};
  }
  (void)::mprotect(data_, pages_up(bytes_), PROT_READ);
  return {};
}

std::chrono::milliseconds rest_after_piece(std::chrono::nanoseconds took, double other_cores) {
  if (other_cores < kIdleCores) return std::chrono::milliseconds(0);
  return std::max(kLeastRest, std::chrono::ceil<std::chrono::milliseconds>(kRestOfPiece * took));
}

PackedMover::PackedMover(std::shared_ptr<PackedMapping> mapping, std::chrono::milliseconds after, LoadLog log)
    : mapping_(std::move(mapping)),
      thread_([mapping = mapping_, after, log = std::move(log)](const std::stop_token& stop) {
        if (!pause_for(after, stop)) return;
        const auto begin = std::chrono::steady_clock::now();
        OtherThreads others;
        const auto moved = mapping->move(
            stop, [&](std::chrono::nanoseconds took) { return rest_after_piece(took, others.cores()); });
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        if (!moved) return log("packed weights stay in their file's pages: " + moved.error().message);
        if (mapping->left() == 0)
          log("packed weights moved into memory: " + std::to_string(mapping->bytes().size()) + " bytes in " +
              std::to_string(took.count()) + " s");
      }) {}

PackedMover::~PackedMover() = default;  // jthread asks it to stop and waits

}  // namespace leadline::worker
