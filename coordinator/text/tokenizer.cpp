#include "coordinator/text/tokenizer.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "coordinator/text/sentencepiece_tokenizer.h"
#include "coordinator/text/tokenizer_json.h"

namespace leadline::coordinator {
namespace {

struct File {
  bool found = false;
  std::string bytes;
};

Result<File> read_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return File{};
  if (!std::filesystem::is_regular_file(status))
    return fail(Errc::io, path.string() + ": not a regular file");
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::io, path.string() + ": " + std::strerror(errno));
  File file{true, {}};
  char buffer[1 << 16];
  while (in.read(buffer, sizeof(buffer)), in.gcount() > 0) {
    file.bytes.append(buffer, static_cast<std::size_t>(in.gcount()));
    if (file.bytes.size() > kMaxTokenizerFileBytes)
      return fail(Errc::malformed_file, path.string() + ": larger than 128 MiB");
  }
  if (in.bad()) return fail(Errc::io, path.string() + ": read failed");
  return file;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& model_directory) {
  const std::filesystem::path directory(model_directory);
  auto config = read_file(directory / "tokenizer_config.json");
  if (!config) return tl::unexpected(config.error());
  auto json = read_file(directory / "tokenizer.json");
  if (!json) return tl::unexpected(json.error());
  if (json->found) return parse_tokenizer_json(json->bytes, config->bytes);
  auto model = read_file(directory / "tokenizer.model");
  if (!model) return tl::unexpected(model.error());
  if (model->found) return parse_sentencepiece_model(model->bytes, config->bytes);
  return fail(Errc::not_found, model_directory + ": neither tokenizer.json nor tokenizer.model");
}

}  // namespace leadline::coordinator
