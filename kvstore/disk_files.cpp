#include "kvstore/disk_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <system_error>

namespace leadline::kvstore {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".kvb";

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

FileResult system_failure(const char* what, int error) {
  const std::string why = std::string(what) + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
      return {FileOutcome::absent, why};
    case ENOSPC:
    case EDQUOT:
      return {FileOutcome::no_space, why};
    case EROFS:
    case EACCES:
    case EPERM:
      return {FileOutcome::not_writable, why};
    default:
      return {FileOutcome::failed, why};
  }
}

bool read_all(int fd, std::byte* to, std::size_t n) {
  while (n > 0) {
    const ssize_t got = ::read(fd, to, n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    n -= static_cast<std::size_t>(got);
  }
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Two writers of one block: the first stays, so that nobody reads a file that is being replaced, and bytes
// are counted once. Filesystems without renameat2 get a link, which does not replace either.
int rename_without_replacing(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::link(from.c_str(), to.c_str()) != 0) return errno;
  ::unlink(from.c_str());
  return 0;
}

}  // namespace

std::uint64_t file_cost(std::uint64_t size) {
  constexpr std::uint64_t kBlock = 4096, kEntry = 256;
  return (size + kBlock - 1) / kBlock * kBlock + kEntry;
}

std::string block_file_name(const BlockId& id) {
  const std::string hex = to_hex(id.key);
  return hex.substr(0, 2) + "/" + hex + "-" + std::to_string(id.head) + std::string(kSuffix);
}

std::optional<BlockId> block_of_file_name(std::string_view name) {
  BlockId id;
  constexpr std::size_t kHex = 64;
  if (name.size() < kHex + 2 + kSuffix.size() || !name.ends_with(kSuffix) || name[kHex] != '-')
    return std::nullopt;
  for (std::size_t i = 0; i < kHex / 2; ++i) {
    const int high = hex_digit(name[2 * i]), low = hex_digit(name[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.key.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  const char *begin = name.data() + kHex + 1, *end = name.data() + name.size() - kSuffix.size();
  const auto [stop, error] = std::from_chars(begin, end, id.head);
  if (error != std::errc() || stop != end || (*begin == '0' && end - begin > 1)) return std::nullopt;
  return id;
}

Result<std::unique_ptr<DiskFiles>> DiskFiles::open(const std::string& directory) {
  const std::string root = directory + "/v" + std::to_string(kBlockVersion);
  std::error_code error;
  for (const char* part : {"", "/blocks", "/tmp", "/quarantine"}) {
    fs::create_directories(root + part, error);
    if (error && !fs::is_directory(root + part))
      return monitoring::fail(Errc::configuration,
                              "KV directory " + directory + ": " + root + part + ": " + error.message());
  }
  ::chmod(root.c_str(), 0700);
  return std::unique_ptr<DiskFiles>(new DiskFiles(root));
}

FileResult DiskFiles::read(const BlockId& id, BlockPtr& block) const {
  const Fd file(::open(path(id).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.ok()) return system_failure("open", errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_failure("fstat", errno);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size > kMaxBlockBytes) return {FileOutcome::damaged, "block: file size"};
  auto bytes = std::make_unique_for_overwrite<std::byte[]>(size);
  if (!read_all(file.get(), bytes.get(), size)) return {FileOutcome::damaged, "block: short read"};
  auto parsed = Block::parse(std::move(bytes), size);
  if (!parsed) return {FileOutcome::damaged, parsed.error().message};
  if ((*parsed)->header().id != id) return {FileOutcome::damaged, "block: of another key"};
  block = std::move(*parsed);
  return {};
}

void DiskFiles::read_ahead(const BlockId& id) const {
  const Fd file(::open(path(id).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.ok()) (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_WILLNEED);
}

bool DiskFiles::exists(const BlockId& id, std::uint64_t* size) const {
  struct stat info {};
  if (::lstat(path(id).c_str(), &info) != 0) return false;
  if (size != nullptr) *size = static_cast<std::uint64_t>(info.st_size);
  return true;
}

FileResult DiskFiles::write_temp(const BlockPtr& block, const std::string& temp) const {
  const Fd file(::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.ok()) return system_failure("open temp", errno);
  std::span<const std::byte> left = block->bytes();
  while (!left.empty()) {
    const ssize_t put = ::write(file.get(), left.data(), left.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return system_failure("write", put < 0 ? errno : EIO);
    left = left.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

FileResult DiskFiles::write(const BlockPtr& block) {
  static std::atomic<std::uint64_t> counter{0};
  const std::string temp =
      root_ + "/tmp/" + std::to_string(::getpid()) + "." + std::to_string(counter.fetch_add(1));
  const std::string target = path(block->header().id);
  FileResult result = write_temp(block, temp);
  if (result.outcome == FileOutcome::ok) {
    int error = rename_without_replacing(temp, target);
    if (error == ENOENT) {  // the first of its shard
      ::mkdir(target.substr(0, target.rfind('/')).c_str(), 0700);
      error = rename_without_replacing(temp, target);
    }
    if (error == 0) return {};
    result = error == EEXIST ? FileResult{FileOutcome::present, {}} : system_failure("rename", error);
  }
  ::unlink(temp.c_str());
  return result;
}

FileResult DiskFiles::remove(const BlockId& id) const {
  if (::unlink(path(id).c_str()) == 0) return {};
  return system_failure("unlink", errno);
}

void DiskFiles::set_read_now(const BlockId& id) const {
  ::utimensat(AT_FDCWD, path(id).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

std::string DiskFiles::quarantine(const BlockId& id) const {
  const std::string name = block_file_name(id).substr(3) + "." + std::to_string(::time(nullptr)) + "." +
                           std::to_string(::getpid());
  const std::string to = root_ + "/quarantine/" + name;
  return ::rename(path(id).c_str(), to.c_str()) == 0 ? name : std::string();
}

std::uint64_t DiskFiles::quarantined_bytes() const {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ + "/quarantine", error)) {
    const auto size = entry.file_size(error);
    if (!error) bytes += file_cost(size);
  }
  return bytes;
}

void DiskFiles::remove_stale_temps() const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ + "/tmp", error)) fs::remove(entry.path(), error);
}

namespace {

DiskFiles::Found look_at(const fs::path& file, const BlockId& id) {
  DiskFiles::Found found;
  found.id = id;
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!fd.ok() || ::fstat(fd.get(), &info) != 0) {
    found.why = "block: cannot be opened";
    return found;
  }
  found.size = static_cast<std::uint64_t>(info.st_size);
  found.modified_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  std::array<std::byte, kMaxBlockHeaderBytes> first;
  const std::size_t n = std::min<std::size_t>(first.size(), found.size);
  if (!read_all(fd.get(), first.data(), n)) {
    found.why = "block: short read";
    return found;
  }
  auto header = parse_block_header(std::span(first).first(n), found.size);
  if (!header)
    found.why = header.error().message;
  else if (header->id != id)
    found.why = "block: of another key";
  else
    found.header = std::move(*header);
  return found;
}

}  // namespace

void DiskFiles::scan(const std::function<bool(Found)>& each) const {
  std::error_code error;
  for (const auto& shard : fs::directory_iterator(root_ + "/blocks", error)) {
    std::error_code inner;
    for (const auto& entry : fs::directory_iterator(shard.path(), inner)) {
      const std::optional<BlockId> id = block_of_file_name(entry.path().filename().native());
      if (!id) continue;  // not ours
      Found found = look_at(entry.path(), *id);
      if (!found.header && !fs::exists(entry.path(), inner))
        continue;  // another process took it away just now
      if (!each(std::move(found))) return;
    }
  }
}

}  // namespace leadline::kvstore
