#include "deploy/cli/runtime_directory.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace leadline::deploy {

Result<RuntimeDirectory> RuntimeDirectory::create() {
  const char* base = "/tmp";
  for (const char* variable : {"XDG_RUNTIME_DIR", "TMPDIR"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && access(value, W_OK) == 0) {
      base = value;
      break;
    }
  }
  std::string path = std::string(base) + "/leadline-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return fail(Errc::io, path + ": " + std::strerror(errno));
  return RuntimeDirectory(path);
}

RuntimeDirectory::~RuntimeDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

namespace {

Result<std::string> write_new_secret(const std::string& path) {
  unsigned char bytes[32];
  if (getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes))
    return fail(Errc::io, "no random bytes");
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  text += '\n';
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Errc::io, path + ": " + std::strerror(errno));
  const bool whole = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  if (!whole) return fail(Errc::io, path + ": could not be written");
  return path;
}

}  // namespace

Result<std::string> RuntimeDirectory::write_secret() const {
  return write_new_secret(path_ + "/control_secret");
}

Result<std::string> kept_secret(const std::string& directory) {
  constexpr off_t kSecretBytes = 65;
  std::error_code error;
  // What lies here is what users wrote, as KV: a directory that we make is theirs alone.
  if (std::filesystem::create_directories(directory, error))
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all, error);
  const std::string path = directory + "/secret", draft = path + "." + std::to_string(getpid());
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {  // whole under its name, or not there
    if (auto written = write_new_secret(draft); !written) return written;
    const bool linked = link(draft.c_str(), path.c_str()) == 0 || errno == EEXIST;
    const int why = errno;
    unlink(draft.c_str());
    if (!linked) return fail(Errc::io, path + ": " + std::strerror(why));
    if (lstat(path.c_str(), &info) != 0) return fail(Errc::io, path + ": " + std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0 ||
      info.st_size != kSecretBytes)
    return fail(Errc::io, path + ": is not a secret of this user's alone (0600)");
  return path;
}

}  // namespace leadline::deploy
