#pragma once
// ScratchDirectory: an empty directory of a test's own, gone with it. Thread: one.

#include <cstdlib>
#include <filesystem>
#include <string>

#include "monitoring/check.h"

namespace leadline::tests {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "leadline-test-XXXXXX").string();
    LEADLINE_CHECK(::mkdtemp(name.data()) != nullptr, "mkdtemp");
    path_ = name;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace leadline::tests
