#include "worker/model/weight_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "monitoring/check.h"
#include "worker/model/json_fields.h"

namespace leadline::worker {
namespace {

constexpr std::int64_t kMaxIndexBytes = 64 << 20;
constexpr std::size_t kMaxShards = 10'000;

tl::unexpected<Error> malformed(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, what);
}

// A shard is a file beside the index; a path out of the directory would read what the operator did not name.
bool plain_file_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// name -> file of model.safetensors.index.json, grouped by file.
Result<std::map<std::string, std::vector<std::string>>> read_index(const std::string& text,
                                                                   const std::string& path) {
  const auto index = parse_json_object(text, path);
  if (!index) return tl::unexpected(index.error());
  const auto weight_map = index->find("weight_map");
  if (weight_map == index->end() || !weight_map->is_object() || weight_map->size() > kMaxTensors)
    return malformed(path + ": weight_map: missing, not an object, or too many entries");
  std::map<std::string, std::vector<std::string>> files;
  for (const auto& [name, file] : weight_map->items()) {
    if (!file.is_string() || !plain_file_name(file.get<std::string>()))
      return malformed(path + ": weight_map: " + name.substr(0, kMaxTensorName) + " = " + brief(file) +
                       ": not a plain file name");
    files[file.get<std::string>()].push_back(name);
  }
  if (files.empty() || files.size() > kMaxShards)
    return malformed(path + ": weight_map names " + std::to_string(files.size()) + " files");
  return files;
}

}  // namespace

WeightFile::~WeightFile() {
  for (const Map& map : maps_)
    if (map.address != nullptr) ::munmap(map.address, map.bytes);
}

Result<std::unique_ptr<WeightFile>> WeightFile::open(const std::string& model_directory) {
  std::unique_ptr<WeightFile> file(new WeightFile);
  const std::string single = model_directory + "/model.safetensors";
  const std::string index = model_directory + "/model.safetensors.index.json";
  struct stat info {};
  Result<void> opened;
  if (::stat(single.c_str(), &info) == 0) {
    opened = file->open_single(single);
  } else {
    const auto text = read_small_file(index, kMaxIndexBytes);
    if (!text && text.error().code == Errc::not_found)
      return monitoring::fail(Errc::not_found,
                              model_directory +
                                  ": neither model.safetensors nor model.safetensors.index.json "
                                  "(other weight formats are not read)");
    if (!text) return tl::unexpected(text.error());
    opened = file->open_sharded(model_directory, *text);
  }
  if (!opened) return tl::unexpected(opened.error());
  return file;
}

std::unique_ptr<WeightFile> WeightFile::from_memory(std::vector<Tensor> tensors,
                                                    std::unique_ptr<std::byte[]> memory) {
  std::unique_ptr<WeightFile> file(new WeightFile);
  file->copies_.push_back(std::move(memory));
  for (Tensor& tensor : tensors) {
    file->total_bytes_ += static_cast<std::int64_t>(tensor.bytes.size());
    const std::string name = tensor.name;
    LEADLINE_CHECK(file->tensors_.emplace(name, std::move(tensor)).second, "two tensors of one name");
  }
  return file;
}

Result<std::vector<TensorEntry>> WeightFile::map_shard(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return monitoring::fail(errno == ENOENT ? Errc::not_found : Errc::io, path + ": " + std::strerror(errno));
  struct stat info {};
  Map map;
  const bool regular = ::fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0;
  if (regular) {
    map.bytes = static_cast<std::size_t>(info.st_size);
    map.address = ::mmap(nullptr, map.bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  }
  const int error = errno;
  ::close(descriptor);
  if (!regular) return malformed(path + ": empty or not a regular file");
  if (map.address == MAP_FAILED) return monitoring::fail(Errc::io, path + ": mmap: " + std::strerror(error));
  maps_.push_back(map);
  const auto nanoseconds = [](const timespec& t) {
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
  };
  stamps_.push_back({path.substr(path.rfind('/') + 1), info.st_size, nanoseconds(info.st_mtim),
                     nanoseconds(info.st_ctim), static_cast<std::int64_t>(info.st_ino)});
  return read_safetensors_header({static_cast<const std::byte*>(map.address), map.bytes}, path);
}

Result<void> WeightFile::open_single(const std::string& path) {
  auto entries = map_shard(path);
  if (!entries) return tl::unexpected(entries.error());
  for (TensorEntry& entry : *entries)
    if (auto added = add(std::move(entry), maps_.back()); !added) return added;
  return {};
}

Result<void> WeightFile::open_sharded(const std::string& model_directory, const std::string& index_text) {
  auto files = read_index(index_text, model_directory + "/model.safetensors.index.json");
  if (!files) return tl::unexpected(files.error());
  for (auto& [file, names] : *files) {
    auto entries = map_shard(model_directory + "/" + file);
    if (!entries) return tl::unexpected(entries.error());
    std::sort(names.begin(), names.end());
    std::size_t taken = 0;
    for (TensorEntry& entry :
         *entries) {  // what the index does not name from this file is not part of the model
      if (!std::binary_search(names.begin(), names.end(), entry.name)) continue;
      if (auto added = add(std::move(entry), maps_.back()); !added) return added;
      ++taken;
    }
    if (taken != names.size())
      return malformed(model_directory + "/" + file + ": lacks " + std::to_string(names.size() - taken) +
                       " of the tensors that the index places there");
  }
  return {};
}

Result<void> WeightFile::add(TensorEntry entry, const Map& map) {
  Tensor tensor{entry.name,
                std::move(entry.dtype_name),
                entry.dtype,
                std::move(entry.shape),
                {static_cast<const std::byte*>(map.address) + entry.begin,
                 static_cast<std::size_t>(entry.end - entry.begin)}};
  const std::size_t element = tensor.dtype ? transport::bits_of(*tensor.dtype) / 8 : 1;
  if (reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % element != 0) {
    copies_.push_back(std::make_unique_for_overwrite<std::byte[]>(tensor.bytes.size()));
    std::memcpy(copies_.back().get(), tensor.bytes.data(), tensor.bytes.size());
    tensor.bytes = {copies_.back().get(), tensor.bytes.size()};
  }
  total_bytes_ += entry.end - entry.begin;
  if (!tensors_.emplace(entry.name, std::move(tensor)).second) return malformed(entry.name + ": given twice");
  return {};
}

const Tensor* WeightFile::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Result<const Tensor*> WeightFile::require(const std::string& name,
                                          std::span<const std::int64_t> shape) const {
  const Tensor* tensor = find(name);
  if (tensor == nullptr) return malformed("checkpoint lacks tensor " + name);
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end()))
    return malformed("tensor " + name + ": shape = " + shape_text(tensor->shape) + ", config.json needs " +
                     shape_text(shape));
  if (!tensor->dtype)
    return monitoring::fail(Errc::unsupported_model, "tensor " + name + ": dtype = " + tensor->dtype_name +
                                                         ": only F32, BF16 and F16 are read");
  return tensor;
}

}  // namespace leadline::worker
