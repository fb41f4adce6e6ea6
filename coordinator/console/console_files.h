#pragma once
// ConsoleFile: the files of the web console as they were at build time, inside the program: nothing is read
// from disk while serving. Not HTTP (http/console_handler). Thread: constant data, any thread. Invariant: an
// "index.html" is among them.

#include <span>
#include <string_view>

namespace leadline::coordinator {

struct ConsoleFile {
  std::string_view name;          // "console.js", without a directory
  std::string_view content_type;  // with its charset
  std::string_view bytes;
};

// Ascending by name. Defined by a generated file, see CMakeLists.txt.
std::span<const ConsoleFile> console_files();

}  // namespace leadline::coordinator
