#pragma once
// TinyModel: a random checkpoint of a few thousand weights in a temporary directory, for tests of what reads
// checkpoints. Not an oracle: tests compare the engine with itself on it. Thread: one. The directory goes
// with the object.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leadline::tests {

class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  void write(const std::string& name, std::string_view bytes) const;

 private:
  std::string path_;
};

// The bytes of a safetensors file: its header text and its data.
std::string safetensors_bytes(std::string_view header, std::string_view data);

class TinyModel {
 public:
  // config_json as config.json; it must be one that ModelConfig accepts. Weights in `dtype`: "F32" or "BF16".
  explicit TinyModel(const std::string& config_json, std::string_view dtype = "F32", std::uint32_t seed = 1);
  [[nodiscard]] const std::string& directory() const { return directory_.path(); }

 private:
  TempDirectory directory_;
};

// config.json of a llama of hidden 64, 2 layers, 4 heads of 16, 2 KV heads, FFN 96, vocabulary 83; `more` is
// put into the object: ", \"tie_word_embeddings\": true". A field given twice takes its last value.
std::string tiny_config(std::string_view model_type, std::string_view architecture,
                        std::string_view more = "");

}  // namespace leadline::tests
