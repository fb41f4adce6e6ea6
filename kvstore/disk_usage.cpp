#include "kvstore/disk_usage.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <system_error>
#include <thread>

namespace leadline::kvstore {

struct DiskUsage::Shared {
  std::atomic<std::uint64_t> bytes;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

namespace {

tl::unexpected<Error> failed(const std::string& path) {
  return monitoring::fail(Errc::io, "KV directory: " + path + ": " + std::generic_category().message(errno));
}

// Alone: nobody holds the lock. Else shared with the others; whoever counts holds it alone for the time of a
// scan.
bool join(int lock, bool& alone) {
  alone = ::flock(lock, LOCK_EX | LOCK_NB) == 0;
  for (int tries = 0; !alone && ::flock(lock, LOCK_SH | LOCK_NB) != 0; ++tries) {
    if (errno != EWOULDBLOCK || tries > 3'000) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<DiskUsage>> DiskUsage::open(const std::string& root) {
  const std::string lock_path = root + "/lock", path = root + "/usage";
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return failed(lock_path);
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    auto why = failed(path);
    ::close(lock);
    return why;
  }
  bool alone = false;
  void* mapped = MAP_FAILED;
  // allocated for real: a write into a hole of a full filesystem would be a SIGBUS
  if (join(lock, alone) && ::posix_fallocate(file, 0, sizeof(Shared)) == 0)
    mapped = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) {
    auto why = failed(path);
    ::close(file);
    ::close(lock);
    return why;
  }
  return std::unique_ptr<DiskUsage>(new DiskUsage(lock, file, static_cast<Shared*>(mapped), alone));
}

DiskUsage::~DiskUsage() {
  ::munmap(shared_, sizeof(Shared));
  ::close(file_);
  ::close(lock_);
}

void DiskUsage::recount(std::uint64_t bytes) {
  shared_->bytes.store(bytes);
  ::flock(lock_, LOCK_SH);
  alone_ = false;
}

bool DiskUsage::take(std::uint64_t bytes, std::uint64_t capacity) {
  std::uint64_t now = shared_->bytes.load();
  do {
    if (bytes > capacity || now > capacity - bytes) return false;
  } while (!shared_->bytes.compare_exchange_weak(now, now + bytes));
  return true;
}

void DiskUsage::give_back(std::uint64_t bytes) {
  std::uint64_t now = shared_->bytes.load();
  while (!shared_->bytes.compare_exchange_weak(now, now - std::min(now, bytes))) {
  }
}

std::uint64_t DiskUsage::bytes() const {
  return shared_->bytes.load();
}

}  // namespace leadline::kvstore
