#include "worker/model/packed_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "monitoring/check.h"

namespace leadline::worker {
namespace {

constexpr std::int64_t kUnsettledNs = 3'000'000'000;     // coarser than any file system's clock
constexpr std::int64_t kProbeOut = 70, kProbeIn = 1040;  // panels, groups and slices that end unevenly

bool read_at(int file, std::int64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t n = ::pread(file, into.data(), into.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(n));
    offset += n;
  }
  return true;
}

std::string digits(std::uint64_t value) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

// Weights as they come: of any size, some groups of zeros, some outliers.
std::vector<float> probe_values() {
  std::vector<float> values(static_cast<std::size_t>(kProbeOut * kProbeIn));
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    const float unit = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31f;
    values[i] = i / 64 % 7 == 3 ? 0.0f : std::ldexp(unit, static_cast<int>(i / 640 % 5) - 6);
  }
  return values;
}

}  // namespace

std::string packed_directory(const std::string& wanted, const std::string& model_directory,
                             bool model_writable, const std::string& cache_home) {
  if (wanted == "off" || wanted.empty()) return {};
  if (wanted == "auto" && model_writable) return model_directory + "/leadline-packed";
  const std::string base = wanted != "auto" ? wanted : cache_home.empty() ? "" : cache_home + "/weights";
  if (base.empty()) return {};
  return base + "/" + digits(packed_checksum(std::as_bytes(std::span(model_directory))));
}

std::string packed_file_name(const PackedKey& key) {
  return key.weights + "-" + key.packing.substr(0, 16) + "-rank" + std::to_string(key.rank) + "of" +
         std::to_string(key.ranks) + ".packed";
}

Result<std::string> packing_probe(Backend& backend, DType format) {
  const std::vector<float> values = probe_values();
  const WeightPart part{values.data(), DType::f32, kProbeOut, kProbeIn, kProbeIn};
  std::string packed;
  for (const int slices : {1, 8}) {
    auto matrix = backend.pack(std::span(&part, 1), format, slices);
    if (!matrix) return tl::unexpected(matrix.error());
    const auto bytes = (*matrix)->stored();
    if (bytes.empty())
      return monitoring::fail(Errc::configuration,
                              std::string(backend.name()) + " keeps no packed weights outside the device");
    packed += digits(packed_checksum(bytes));
  }
  return packed;
}

std::vector<FileStamp> settled(const std::vector<FileStamp>& stamps, std::int64_t now_ns) {
  for (const FileStamp& stamp : stamps)
    if (std::max(stamp.modified_ns, stamp.changed_ns) > now_ns - kUnsettledNs) return {};
  return stamps;
}

std::unique_ptr<PackedCache> PackedCache::open(const std::string& path, const PackedKey& key, LoadLog log,
                                               bool mapped) {
  std::unique_ptr<PackedCache> cache(new PackedCache(path, std::move(log)));
  cache->file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (cache->file_ < 0) {
    cache->log_("no packed weights at " + path + ": " + std::strerror(errno));
    return cache;
  }
  if (auto read = cache->read_header(key); !read) {
    cache->log_("packed weights not used: " + path + ": " + read.error().message);
    return cache;
  }
  cache->valid_ = true;
  if (!mapped) return cache;
  if (auto mapping = PackedMapping::map(cache->file_, cache->file_bytes_); mapping)
    cache->mapping_ = std::move(*mapping);
  else
    cache->log_("packed weights are read, not mapped: " + path + ": " + mapping.error().message);
  return cache;
}

PackedCache::~PackedCache() {
  if (file_ >= 0) ::close(file_);
}

Result<void> PackedCache::read_header(const PackedKey& key) {
  struct stat info {};
  if (::fstat(file_, &info) != 0 || !S_ISREG(info.st_mode))
    return monitoring::fail(Errc::malformed_file, "not a regular file");
  std::vector<std::byte> head(static_cast<std::size_t>(kPackedPreamble));
  if (!read_at(file_, 0, head)) return monitoring::fail(Errc::malformed_file, "shorter than its preamble");
  const auto length = packed_header_length(head);
  if (!length) return tl::unexpected(length.error());
  if (*length > info.st_size - kPackedPreamble)
    return monitoring::fail(Errc::malformed_file, "header length is beyond the file");
  head.resize(static_cast<std::size_t>(kPackedPreamble + *length));
  if (!read_at(file_, kPackedPreamble, std::span(head).subspan(static_cast<std::size_t>(kPackedPreamble))))
    return monitoring::fail(Errc::malformed_file, "header is cut short");
  auto header = read_packed_header(head, info.st_size);
  if (!header) return tl::unexpected(header.error());
  if (const std::string differs = difference(header->key, key); !differs.empty())
    return monitoring::fail(Errc::malformed_file, differs);
  header_ = std::move(*header);
  head_bytes_ = static_cast<std::int64_t>(head.size());
  file_bytes_ = info.st_size;
  for (std::size_t i = 0; i < header_.entries.size(); ++i)
    if (!by_name_.emplace(header_.entries[i].name, i).second)
      return monitoring::fail(Errc::malformed_file, header_.entries[i].name + ": given twice");
  return {};
}

CheckpointDigests PackedCache::known_digests(const std::vector<FileStamp>& now) const {
  const bool same = valid_ && !header_.stamps.empty() && header_.stamps == now;
  return same ? header_.digests : CheckpointDigests();
}

bool PackedCache::usable(const CheckpointDigests& digests) const {
  if (!valid_) return false;
  if (header_.digests == digests) return true;
  log_("packed weights not used: " + path_ + ": made of another checkpoint");
  return false;
}

void PackedCache::put_stamps(std::vector<FileStamp> stamps) {
  if (stamps.empty()) return;
  PackedHeader fresh = header_;
  fresh.stamps = std::move(stamps);
  const std::string head = packed_header_bytes(fresh, head_bytes_);
  const int file = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  const bool put = static_cast<std::int64_t>(head.size()) == head_bytes_ && file >= 0 &&
                   ::pwrite(file, head.data(), head.size(), 0) == static_cast<ssize_t>(head.size());
  if (file >= 0) ::close(file);
  log_(put ? "packed weights: the checkpoint was hashed, next time its files' times do"
           : "packed weights: the checkpoint is hashed at each start: " + path_ + " can't be written to");
}

bool PackedCache::read_chunk(const PackedEntry& entry, std::int64_t index, std::span<std::byte> into) const {
  return read_at(file_, entry.offset + index * kPackedChunkBytes, into) &&
         packed_checksum(into) == entry.sums[static_cast<std::size_t>(index)];
}

Result<std::unique_ptr<PackedMatrix>> PackedCache::adopt(const PackedEntry& entry, Backend& backend) const {
  const auto bytes = mapping_->bytes().subspan(static_cast<std::size_t>(entry.offset),
                                               static_cast<std::size_t>(entry.bytes));
  return backend.adopt(entry.shape, {bytes, mapping_},
                       [&](std::int64_t index, std::span<const std::byte> chunk) {
                         return PackedMapping::bring_in(chunk) &&
                                packed_checksum(chunk) == entry.sums[static_cast<std::size_t>(index)];
                       });
}

Result<std::unique_ptr<PackedMatrix>> PackedCache::find(const std::string& name, const PackedShape& shape,
                                                        Backend& backend) {
  const auto found = by_name_.find(name);
  if (!valid_ || found == by_name_.end())
    return monitoring::fail(Errc::malformed_file, path_ + ": lacks " + name);
  const PackedEntry& entry = header_.entries[found->second];
  if (entry.shape != shape)
    return monitoring::fail(Errc::malformed_file, path_ + ": " + name + " has another shape");
  auto matrix = mapping_
                    ? adopt(entry, backend)
                    : backend.restore(shape, entry.bytes, [&](std::int64_t index, std::span<std::byte> into) {
                        return read_chunk(entry, index, into);
                      });
  if (!matrix) matrix.error().message = path_ + ": " + name + ": " + matrix.error().message;
  return matrix;
}

}  // namespace leadline::worker
