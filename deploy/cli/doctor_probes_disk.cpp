// The folder of a disk cache: bandwidth with O_DIRECT where it works, and what one durable write takes.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>

#include "deploy/cli/doctor_probes.h"

namespace leadline::deploy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBlock = std::size_t{1} << 20, kAlign = 4096;
constexpr int kBlocks = 64, kSyncs = 9;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

std::string last_error() {
  return std::generic_category().message(errno);
}

// Blocks through `fd`; MB/s, or nothing when one failed.
std::optional<double> write_blocks(int fd, const char* block) {
  const auto start = Clock::now();
  for (int i = 0; i < kBlocks; ++i) {
    if (pwrite(fd, block, kBlock, static_cast<off_t>(i) * static_cast<off_t>(kBlock)) !=
        static_cast<ssize_t>(kBlock))
      return std::nullopt;
  }
  if (fdatasync(fd) != 0) return std::nullopt;
  return kBlocks * static_cast<double>(kBlock) / 1e6 / seconds_since(start);
}

}  // namespace

DiskFacts probe_disk(const std::string& folder) {
  DiskFacts facts;
  facts.folder = folder;
  struct statvfs space {};
  if (statvfs(folder.c_str(), &space) == 0) facts.free_bytes = std::uint64_t{space.f_bavail} * space.f_frsize;
  std::string path = folder + "/leadline-doctor-XXXXXX";
  Descriptor file{mkostemp(path.data(), O_CLOEXEC)};
  if (file.fd < 0) {
    facts.error = last_error();
    return facts;
  }
  Descriptor direct{open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)};
  unlink(path.c_str());
  const std::unique_ptr<void, decltype(&std::free)> block(std::aligned_alloc(kAlign, kBlock), &std::free);
  std::memset(block.get(), 0x5A, kBlock);
  const char* bytes = static_cast<const char*>(block.get());
  auto speed = direct.fd >= 0 ? write_blocks(direct.fd, bytes) : std::nullopt;
  facts.direct = speed.has_value();
  if (!speed) speed = write_blocks(file.fd, bytes);
  if (!speed) {
    facts.error = last_error();
    return facts;
  }
  facts.write_mb_per_s = *speed;
  std::vector<double> syncs;
  const int fd = facts.direct ? direct.fd : file.fd;
  for (int i = 0; i < kSyncs; ++i) {
    const auto start = Clock::now();
    if (pwrite(fd, bytes, kAlign, static_cast<off_t>(i) * static_cast<off_t>(kAlign)) < 0 || fsync(fd) != 0)
      break;
    syncs.push_back(seconds_since(start) * 1e3);
  }
  if (!syncs.empty()) {
    std::sort(syncs.begin(), syncs.end());
    facts.fsync_ms = syncs[syncs.size() / 2];
  }
  posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);  // so that even without O_DIRECT the disk is read
  const auto start = Clock::now();
  for (int i = 0; i < kBlocks; ++i) {
    if (pread(fd, block.get(), kBlock, static_cast<off_t>(i) * static_cast<off_t>(kBlock)) < 0) return facts;
  }
  facts.read_mb_per_s = kBlocks * static_cast<double>(kBlock) / 1e6 / seconds_since(start);
  return facts;
}

}  // namespace leadline::deploy
