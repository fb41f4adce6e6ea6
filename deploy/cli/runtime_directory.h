#pragma once
// RuntimeDirectory: a private directory (0700) of one `leadline up`, with the control secret (0600) in it;
// gone with the object. Not for anything that should outlive the command. Thread: the owner's.

#include <string>
#include <utility>

#include "deploy/cli/errc.h"

namespace leadline::deploy {

class RuntimeDirectory {
 public:
  // In $XDG_RUNTIME_DIR, else $TMPDIR, else /tmp.
  static Result<RuntimeDirectory> create();
  RuntimeDirectory(RuntimeDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  RuntimeDirectory& operator=(RuntimeDirectory&&) = delete;
  ~RuntimeDirectory();

  [[nodiscard]] const std::string& path() const { return path_; }
  // Writes 32 random bytes as hex into a new file that only this user can read; returns its path.
  [[nodiscard]] Result<std::string> write_secret() const;

 private:
  explicit RuntimeDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A secret that outlives one `up`: DIRECTORY/secret, made when it is not there. Tenants' salts come from the
// secret (exactness X7), so blocks on disk are found by later starts only under the same one. io: not
// possible there, or the file is not this user's alone.
[[nodiscard]] Result<std::string> kept_secret(const std::string& directory);

}  // namespace leadline::deploy
