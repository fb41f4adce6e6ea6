#include "transport/collective/shm_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace leadline::transport {

namespace {

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

std::size_t cells_bytes(int ranks) {
  const std::size_t raw =
      sizeof(ShmSegment::RankCell) * static_cast<std::size_t>(ranks + 1);  // the last one: `dead`
  return (raw + 4095) / 4096 * 4096;
}
std::size_t segment_bytes(int ranks) {
  return cells_bytes(ranks) + static_cast<std::size_t>(ranks) * 2 * ShmSegment::kSlotBytes;
}

Result<void*> map(int fd, std::size_t bytes, const std::string& name) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int failure = errno;
  ::close(fd);
  if (base == MAP_FAILED)
    return monitoring::fail(Errc::io, "mmap of " + name + ": " + std::strerror(failure));
  return base;
}

}  // namespace

ShmSegment::ShmSegment(std::string name, bool owner, void* base, std::size_t bytes, int ranks)
    : name_(std::move(name)),
      linked_(owner),
      base_(base),
      bytes_(bytes),
      ranks_(ranks),
      cells_(static_cast<RankCell*>(base)),
      slots_(static_cast<std::byte*>(base) + cells_bytes(ranks)) {}

ShmSegment::~ShmSegment() {
  unlink();
  ::munmap(base_, bytes_);
}

void ShmSegment::unlink() {
  if (linked_) ::shm_unlink(name_.c_str());
  linked_ = false;
}

Result<std::unique_ptr<ShmSegment>> ShmSegment::create(int ranks) {
  std::uint64_t random[2];
  if (::getrandom(random, sizeof random, 0) != sizeof random) return monitoring::fail(Errc::io, "getrandom");
  const std::string name = "/leadline-" + std::to_string(random[0]) + "-" + std::to_string(random[1]);
  const int fd = ::shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return monitoring::fail(Errc::io, "shm_open: " + std::string(std::strerror(errno)));
  const std::size_t bytes = segment_bytes(ranks);
  // Reserve now: a full /dev/shm would otherwise be a SIGBUS in the middle of a step.
  int failure = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (failure != 0) {
    ::close(fd);
    ::shm_unlink(name.c_str());
    return monitoring::fail(
        Errc::io, "/dev/shm has no room for " + std::to_string(bytes) + " bytes: " + std::strerror(failure));
  }
  auto base = map(fd, bytes, name);
  if (!base) {
    ::shm_unlink(name.c_str());
    return tl::unexpected(std::move(base).error());
  }
  for (int rank = 0; rank <= ranks; ++rank) new (static_cast<RankCell*>(*base) + rank) RankCell;
  return std::unique_ptr<ShmSegment>(new ShmSegment(name, true, *base, bytes, ranks));
}

Result<std::unique_ptr<ShmSegment>> ShmSegment::open(const std::string& name, int ranks) {
  const int fd = ::shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return monitoring::fail(Errc::io, "shm_open of " + name + ": " + std::strerror(errno));
  const std::size_t bytes = segment_bytes(ranks);
  if (::lseek(fd, 0, SEEK_END) != static_cast<off_t>(bytes)) {
    ::close(fd);
    return monitoring::fail(Errc::malformed, name + " has another size: ranks of different versions?");
  }
  auto base = map(fd, bytes, name);
  if (!base) return tl::unexpected(std::move(base).error());
  return std::unique_ptr<ShmSegment>(new ShmSegment(name, false, *base, bytes, ranks));
}

}  // namespace leadline::transport
