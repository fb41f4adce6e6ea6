#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "worker/model/packed_cache.h"

namespace leadline::worker {
namespace {

constexpr std::int64_t kLeaveFree = std::int64_t{1} << 30;  // bytes of the file system
constexpr int kNice = 10;

Result<void> failed(const std::string& what) {
  return monitoring::fail(Errc::io, what + ": " + std::strerror(errno));
}

class OpenFile {  // closed, and so unlocked, with the object
 public:
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

bool write_at(int file, std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(file, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += n;
  }
  return true;
}

Result<void> write_matrices(int file, PackedHeader& header, std::span<const PackedMatrix* const> matrices,
                            const std::stop_token& stop) {
  for (std::size_t m = 0; m < matrices.size(); ++m) {
    const auto bytes = matrices[m]->stored();
    PackedEntry& entry = header.entries[m];
    for (std::size_t chunk = 0; chunk < entry.sums.size(); ++chunk) {
      if (stop.stop_requested()) return monitoring::fail(Errc::io, "stopped");
      const std::size_t at = chunk * static_cast<std::size_t>(kPackedChunkBytes);
      const auto part =
          bytes.subspan(at, std::min(bytes.size() - at, static_cast<std::size_t>(kPackedChunkBytes)));
      entry.sums[chunk] = packed_checksum(part);
      if (!write_at(file, entry.offset + static_cast<std::int64_t>(at), part)) return failed("write");
    }
  }
  return {};
}

Result<void> write_file(const std::string& path, PackedHeader& header,
                        std::span<const PackedMatrix* const> matrices, const std::stop_token& stop) {
  const std::filesystem::path place(path);
  std::error_code error;
  std::filesystem::create_directories(place.parent_path(), error);
  if (error) return monitoring::fail(Errc::io, place.parent_path().string() + ": " + error.message());
  const PackedPlaces places = place_entries(header);
  const std::int64_t total = places.file_bytes;
  struct statvfs room {};
  if (::statvfs(place.parent_path().c_str(), &room) == 0) {
    const auto free = static_cast<std::int64_t>(room.f_bavail) * static_cast<std::int64_t>(room.f_frsize);
    if (free - total < kLeaveFree)
      return monitoring::fail(Errc::io, std::to_string(free) + " bytes are free, " + std::to_string(total) +
                                            " are needed and " + std::to_string(kLeaveFree) + " stay free");
  }
  const std::string part = path + ".part";
  const OpenFile file(::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (file.get() < 0) return failed(part);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
    return monitoring::fail(Errc::io, part + ": another process writes it");
  if (::ftruncate(file.get(), 0) != 0 || ::ftruncate(file.get(), total) != 0) return failed(part);
  if (auto written = write_matrices(file.get(), header, matrices, stop); !written) {
    (void)::unlink(part.c_str());
    return written;
  }
  const std::string head = packed_header_bytes(header, places.head_bytes);
  // Not synced: what a loss of power tears or empties fails its checksums and is packed again.
  if (!write_at(file.get(), 0, std::as_bytes(std::span(head)))) return failed(part);
  if (::rename(part.c_str(), path.c_str()) != 0) return failed(path);
  return {};
}

}  // namespace

PackedWriter::PackedWriter(std::string path, PackedHeader header, std::vector<const PackedMatrix*> matrices,
                           LoadLog log)
    : thread_([path = std::move(path), header = std::move(header), matrices = std::move(matrices),
               log = std::move(log)](const std::stop_token& stop) mutable {
        (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
        const auto begin = std::chrono::steady_clock::now();
        const auto written = write_file(path, header, matrices, stop);
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        log(written ? "packed weights written: " + path + " in " + std::to_string(seconds) + " s"
                    : "packed weights not written: " + path + ": " + written.error().message);
      }) {}

PackedWriter::~PackedWriter() = default;  // jthread asks it to stop and waits

}  // namespace leadline::worker
