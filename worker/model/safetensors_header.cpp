#include "worker/model/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "worker/model/json_fields.h"

namespace leadline::worker {
namespace {

using nlohmann::json;

struct FileType {
  const char* name;
  std::int64_t bytes;
  std::optional<DType> dtype;
};
const FileType kFileTypes[] = {
    {"F32", 4, DType::f32},    {"BF16", 2, DType::bf16},     {"F16", 2, DType::f16},
    {"F64", 8, std::nullopt},  {"I64", 8, std::nullopt},     {"U64", 8, std::nullopt},
    {"I32", 4, std::nullopt},  {"U32", 4, std::nullopt},     {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},  {"I8", 1, std::nullopt},      {"U8", 1, std::nullopt},
    {"BOOL", 1, std::nullopt}, {"F8_E4M3", 1, std::nullopt}, {"F8_E5M2", 1, std::nullopt},
};

tl::unexpected<Error> malformed(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, what);
}

std::uint64_t little_endian_64(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i)
    value = value << 8 | static_cast<std::uint64_t>(bytes[static_cast<std::size_t>(i)]);
  return value;
}

// A list of at most `most` non-negative integers, or nothing.
std::optional<std::vector<std::int64_t>> counts(const json& object, const char* field, std::size_t most) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_array() || found->size() > most) return std::nullopt;
  std::vector<std::int64_t> values;
  for (const json& item : *found) {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
      return std::nullopt;
    values.push_back(item.get<std::int64_t>());
  }
  return values;
}

Result<TensorEntry> read_entry(const std::string& name, const json& object, std::int64_t data_begin,
                               std::int64_t data_bytes) {
  if (name.size() > kMaxTensorName)
    return malformed("a tensor's name has " + std::to_string(name.size()) + " bytes");
  if (!object.is_object()) return malformed(name + ": not an object");
  TensorEntry entry;
  entry.name = name;
  const auto dtype = object.find("dtype");
  if (dtype == object.end() || !dtype->is_string())
    return malformed(name + ": dtype: missing or not a string");
  entry.dtype_name = dtype->get<std::string>();
  const auto* type = std::find_if(std::begin(kFileTypes), std::end(kFileTypes),
                                  [&](const FileType& t) { return entry.dtype_name == t.name; });
  if (type == std::end(kFileTypes)) return malformed(name + ": dtype = " + brief(*dtype) + ": unknown");
  entry.dtype = type->dtype;

  auto shape = counts(object, "shape", kMaxTensorDims);
  if (!shape) return malformed(name + ": shape: not a list of at most 8 sizes");
  entry.shape = std::move(*shape);
  std::int64_t bytes = type->bytes;
  for (const std::int64_t dim : entry.shape)
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return malformed(name + ": shape: too large");

  const auto offsets = counts(object, "data_offsets", 2);
  if (!offsets || offsets->size() != 2) return malformed(name + ": data_offsets: not two offsets");
  const std::int64_t begin = (*offsets)[0], end = (*offsets)[1];
  if (begin > end || end > data_bytes)
    return malformed(name + ": data_offsets = [" + std::to_string(begin) + ", " + std::to_string(end) +
                     "]: outside the file's " + std::to_string(data_bytes) + " data bytes");
  if (end - begin != bytes)
    return malformed(name + ": data_offsets span " + std::to_string(end - begin) +
                     " bytes, shape and dtype need " + std::to_string(bytes));
  entry.begin = data_begin + begin;
  entry.end = data_begin + end;
  return entry;
}

Result<void> check_covered(const std::vector<TensorEntry>& entries, std::int64_t data_begin,
                           std::int64_t file_end) {
  std::int64_t at = data_begin;
  for (const TensorEntry& entry : entries) {
    if (entry.begin != at)
      return malformed(entry.name + ": data_offsets: " +
                       (entry.begin < at ? "overlaps" : "leaves a gap after") + " the tensor before it");
    at = entry.end;
  }
  if (at != file_end) return malformed(std::to_string(file_end - at) + " bytes after the last tensor");
  return {};
}

Result<std::vector<TensorEntry>> read_header(std::span<const std::byte> file) {
  if (file.size() < 8) return malformed("shorter than 8 bytes");
  const std::uint64_t length = little_endian_64(file.first(8));
  if (length > static_cast<std::uint64_t>(kMaxHeaderBytes) || length > file.size() - 8)
    return malformed("header length " + std::to_string(length) + " is beyond the file or the limit");
  const auto header_bytes = static_cast<std::size_t>(length);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, header_bytes);
  const auto header = parse_json_object(text, "header");
  if (!header) return tl::unexpected(header.error());
  if (header->size() > kMaxTensors)
    return malformed("header has " + std::to_string(header->size()) + " entries");

  const auto data_begin = static_cast<std::int64_t>(8 + header_bytes);
  const auto file_end = static_cast<std::int64_t>(file.size());
  std::vector<TensorEntry> entries;
  for (const auto& [name, object] : header->items()) {
    if (name == "__metadata__") continue;
    auto entry = read_entry(name, object, data_begin, file_end - data_begin);
    if (!entry) return tl::unexpected(entry.error());
    entries.push_back(std::move(*entry));
  }
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  if (const auto covered = check_covered(entries, data_begin, file_end); !covered)
    return tl::unexpected(covered.error());
  return entries;
}

}  // namespace

Result<std::vector<TensorEntry>> read_safetensors_header(std::span<const std::byte> file,
                                                         const std::string& name) {
  auto entries = read_header(file);
  if (!entries) entries.error().message = name + ": " + entries.error().message;
  return entries;
}

}  // namespace leadline::worker
