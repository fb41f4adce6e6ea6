#include "policy/byte_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>

namespace leadline::policy {
namespace {

tl::unexpected<Error> io_error(const std::string& what, const std::string& path) {
  return monitoring::fail(Errc::io, what + " " + path + ": " + std::strerror(errno));
}

bool write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(file, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return true;
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return io_error("cannot open", path);
  const std::streamoff end = file.tellg();
  if (end < 0) return io_error("cannot read", path);
  const auto size = static_cast<std::size_t>(end);
  if (size > limit)
    return monitoring::fail(Errc::too_large, path + ": " + std::to_string(size) + " bytes, the limit is " +
                                                 std::to_string(limit));
  std::vector<std::byte> bytes(size);
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!file && size > 0) return io_error("cannot read", path);
  return bytes;
}

Result<void> write_file(const std::string& path, std::span<const std::byte> bytes) {
  const std::string fresh = path + ".new." + std::to_string(::getpid());
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return io_error("cannot create", fresh);
  const bool wrote = write_all(file, bytes) && ::fsync(file) == 0;
  if ((::close(file) != 0 || !wrote) || std::rename(fresh.c_str(), path.c_str()) != 0) {
    auto failed = io_error("cannot write", path);
    ::unlink(fresh.c_str());
    return failed;
  }
  return {};
}

}  // namespace leadline::policy
