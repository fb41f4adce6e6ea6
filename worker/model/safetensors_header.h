#pragma once
// The header of a safetensors file: a table of tensors by name, checked so that every entry lies inside the
// file and none overlap. Not the mapping and not the bytes of tensors (weight_file). Format: 8 bytes
// little-endian length, a JSON object {name: {dtype, shape, data_offsets: [begin, end]}}, then the data, as
// the safetensors library of Hugging Face defines it. Thread: pure. Invariant: entries are in order of their
// offsets and cover the data without a gap, as that library demands; so a name given twice is refused too,
// unless it holds no bytes.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "worker/backend/tensor.h"
#include "worker/errc.h"

namespace leadline::worker {

inline constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
inline constexpr std::size_t kMaxTensors = 200'000;
inline constexpr std::size_t kMaxTensorDims = 8;
inline constexpr std::size_t kMaxTensorName = 512;

struct TensorEntry {
  std::string name;
  std::string dtype_name;      // as in the file: "BF16", ...
  std::optional<DType> dtype;  // f32, bf16, f16; none for what no weight of ours may be
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes from the start of the file
};

// `file`: the whole file (its data part is not read). `name`: for messages. malformed_file names entry, field
// and value.
Result<std::vector<TensorEntry>> read_safetensors_header(std::span<const std::byte> file,
                                                         const std::string& name);

}  // namespace leadline::worker
