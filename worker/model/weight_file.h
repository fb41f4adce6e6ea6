#pragma once
// WeightFile: the tensors of a checkpoint as downloaded, memory-mapped: model.safetensors, or the shards that
// model.safetensors.index.json names. Not weights in a backend's layout (weights.h) and not a writer.
// Thread: immutable after open; any. Invariants: views live as long as the WeightFile; tensors are
// aligned to their elements (what an old writer left unaligned is copied). A file that is truncated by
// someone else while it is mapped ends the process (SIGBUS), as with any mapped file.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/model/safetensors_header.h"

namespace leadline::worker {

struct Tensor {
  std::string name;
  std::string dtype_name;
  std::optional<DType> dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// What tells that a file is still the one that was read, without reading it: a write to it changes them.
struct FileStamp {
  std::string name;
  std::int64_t bytes = 0, modified_ns = 0, changed_ns = 0, inode = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

class WeightFile {
 public:
  // not_found, io, or malformed_file with file, tensor, field and value.
  static Result<std::unique_ptr<WeightFile>> open(const std::string& model_directory);
  // The same without a file: tensors of distinct names whose bytes lie in `memory`; they may overlap.
  static std::unique_ptr<WeightFile> from_memory(std::vector<Tensor> tensors,
                                                 std::unique_ptr<std::byte[]> memory);
  ~WeightFile();
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;

  [[nodiscard]] const Tensor* find(std::string_view name) const;
  // Must exist, have this shape, be f32, bf16 or f16, and be aligned to its elements. A vector's shape is
  // {n}.
  Result<const Tensor*> require(const std::string& name, std::span<const std::int64_t> shape) const;
  // In order of names.
  [[nodiscard]] const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }
  [[nodiscard]] std::int64_t total_bytes() const { return total_bytes_; }
  // Of the files as they were mapped; empty without files.
  [[nodiscard]] const std::vector<FileStamp>& stamps() const { return stamps_; }

 private:
  struct Map {
    void* address = nullptr;
    std::size_t bytes = 0;
  };
  WeightFile() = default;
  Result<std::vector<TensorEntry>> map_shard(const std::string& path);
  Result<void> open_single(const std::string& path);
  Result<void> open_sharded(const std::string& model_directory, const std::string& index_text);
  Result<void> add(TensorEntry entry, const Map& map);

  // Constant after open.
  std::vector<Map> maps_;
  std::vector<FileStamp> stamps_;
  std::vector<std::unique_ptr<std::byte[]>> copies_;  // of tensors unaligned in their file; from_memory's
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::int64_t total_bytes_ = 0;
};

}  // namespace leadline::worker
