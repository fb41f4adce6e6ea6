#include "transport/control/control_secret.h"

#include <fstream>

namespace leadline::transport {

Result<std::string> read_control_secret(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxSecretBytes + 3, '\0');  // a line end, and one byte more than may be
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    return monitoring::fail(Errc::configuration, "--control-secret-file " + path + ": cannot be read");
  text.resize(static_cast<std::size_t>(file.gcount()));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.size() < kMinSecretBytes || text.size() > kMaxSecretBytes ||
      text.find_first_of("\r\n") != std::string::npos)
    return monitoring::fail(Errc::configuration, "--control-secret-file " + path + ": needs one line of " +
                                                     std::to_string(kMinSecretBytes) + " to " +
                                                     std::to_string(kMaxSecretBytes) + " bytes");
  return text;
}

}  // namespace leadline::transport
