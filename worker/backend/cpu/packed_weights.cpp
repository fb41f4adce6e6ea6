#include "worker/backend/cpu/packed_weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "monitoring/check.h"

namespace leadline::worker::cpu {

namespace {

constexpr std::int64_t kChunk = 64;  // k of one transposed block: 32 rows of one or more cache lines

bool is_float(DType t) {
  return t == DType::f32 || t == DType::bf16 || t == DType::f16;
}
std::int64_t size_of(DType t) {
  return static_cast<std::int64_t>(transport::bits_of(t) / 8);
}

template <typename T>
void interleave(const T* rows, std::int64_t count, std::int64_t output, T* panel) {
  for (std::int64_t k = 0; k < count; ++k) panel[k * kPanel + output] = rows[k];
}

// Writes output `output` of a panel from one row of the file.
struct RowPacker {
  const CpuKernels& kernels;
  DType from, to;

  void pack(const std::uint8_t* row, std::int64_t k, std::int64_t output, std::uint8_t* panel) const {
    alignas(64) float wide[kChunk];
    alignas(64) std::uint8_t narrow[kChunk * sizeof(float)];
    for (std::int64_t begin = 0; begin < k; begin += kChunk) {
      const std::int64_t count = std::min(kChunk, k - begin);
      const std::uint8_t* source = row + begin * size_of(from);
      if (from == to) {
        std::memcpy(narrow, source, static_cast<std::size_t>(count * size_of(to)));
      } else {
        kernels.widen(source, static_cast<int>(from), count, wide);
        kernels.narrow(wide, static_cast<int>(to), count, narrow);
      }
      std::uint8_t* target = panel + begin * kPanel * size_of(to);
      if (size_of(to) == 4)
        interleave(reinterpret_cast<const float*>(narrow), count, output, reinterpret_cast<float*>(target));
      else
        interleave(reinterpret_cast<const std::uint16_t*>(narrow), count, output,
                   reinterpret_cast<std::uint16_t*>(target));
    }
  }
};

// Writes one output's steps of a panel for bf16 tiles.
struct PairPacker {
  const CpuKernels& kernels;
  std::int64_t k;
  int slices;

  void pack(const float* row, std::int64_t output, std::uint8_t* panel) const {
    alignas(64) std::uint16_t narrow[kBf16Step];
    const std::int64_t slice = k / slices;
    for (int s = 0; s < slices; ++s) {
      for (std::int64_t begin = 0; begin < slice; begin += kBf16Step, panel += kBf16Block) {
        const std::int64_t count = std::min<std::int64_t>(kBf16Step, slice - begin);
        kernels.narrow(row + s * slice + begin, kBf16, count, narrow);
        auto* tile = reinterpret_cast<std::uint16_t*>(panel + output / kTileOutputs * kBf16TileBytes);
        for (std::int64_t i = 0; i < count; ++i)
          tile[(i / 2 * kTileOutputs + output % kTileOutputs) * 2 + i % 2] = narrow[i];
      }
    }
  }
};

// Writes one output's groups of an int8 panel: symmetric, the scale rounded up to bf16 so that no weight is
// clipped.
struct Int8Packer {
  std::int64_t k;
  int slices;

  void pack(const float* row, std::int64_t output, std::uint8_t* panel) const {
    const std::int64_t slice = k / slices;
    for (int s = 0; s < slices; ++s) {
      for (std::int64_t begin = 0; begin < slice; begin += kGroup, panel += kInt8Block)
        pack_one(row + s * slice + begin, std::min<std::int64_t>(kGroup, slice - begin), output, panel);
    }
  }
  static void pack_one(const float* x, std::int64_t count, std::int64_t output, std::uint8_t* block) {
    float largest = 0;
    bool finite = true;
    for (std::int64_t i = 0; i < count; ++i) {
      finite = finite && std::isfinite(x[i]);
      largest = std::max(largest, std::fabs(x[i]));
    }
    std::uint32_t bits;
    const float exact = finite ? largest / 127.0f : std::numeric_limits<float>::quiet_NaN();
    std::memcpy(&bits, &exact, 4);
    const auto scale16 = static_cast<std::uint16_t>(finite ? (bits + 0xffffu) >> 16 : 0x7fc0u);
    bits = std::uint32_t{scale16} << 16;
    float scale;
    std::memcpy(&scale, &bits, 4);
    reinterpret_cast<std::uint16_t*>(block + kGroup * kPanel)[output] = scale16;
    for (std::int64_t i = 0; i < count; ++i) {
      const float q = finite && scale > 0 ? std::nearbyintf(x[i] / scale) : 0.0f;
      block[i / 4 * kPanel * 4 + output * 4 + i % 4] = static_cast<std::uint8_t>(static_cast<int>(q) + 128);
    }
  }
};

// Writes one output's groups of an int4 panel.
struct Int4Packer {
  const CpuKernels& kernels;
  std::int64_t k;
  int slices;

  void pack(const float* row, std::int64_t output, std::uint8_t* panel) const {
    const std::int64_t slice = k / slices;
    for (int s = 0; s < slices; ++s) {
      for (std::int64_t begin = 0; begin < slice; begin += kGroup, panel += kInt4Block)
        pack_one(row + s * slice + begin, std::min<std::int64_t>(kGroup, slice - begin), output, panel);
    }
  }
  void pack_one(const float* x, std::int64_t count, std::int64_t output, std::uint8_t* block) const {
    std::uint8_t codes[kGroup];
    reinterpret_cast<std::uint16_t*>(block + kGroup / 2 * kPanel)[output] =
        kernels.quantize_int4(x, static_cast<int>(count), codes);
    for (std::int64_t i = 0; i < kGroup; ++i) {
      std::uint8_t& byte = block[i / 4 % (kGroup / 8) * kPanel * 4 + output * 4 + i % 4];
      byte = static_cast<std::uint8_t>(i < kGroup / 2 ? (byte & 0xf0) | codes[i]
                                                      : (byte & 0x0f) | codes[i] << 4);
    }
  }
};

std::int64_t bytes_per_panel(std::int64_t k, DType format, int slices, bool pairs) {
  if (pairs) return bf16_steps(k, slices) * kBf16Block;
  if (format == DType::i4) return int8_groups(k, slices) * kInt4Block;
  return format == DType::i8 ? int8_groups(k, slices) * kInt8Block : k * kPanel * size_of(format);
}

Result<std::int64_t> check_parts(std::span<const WeightPart> parts, DType format, int slices) {
  LEADLINE_CHECK(!parts.empty(), "nothing to pack");
  if (!is_float(format) && format != DType::i8 && format != DType::i4)
    return monitoring::fail(Errc::configuration, "weight format " + std::string(transport::name_of(format)) +
                                                     ": the CPU backend has f32, bf16, f16, int8, int4");
  std::int64_t outputs = 0;
  for (const WeightPart& part : parts) {
    if (!is_float(part.dtype))
      return monitoring::fail(
          Errc::unsupported_model,
          "checkpoint dtype " + std::string(transport::name_of(part.dtype)) + ": not a float type");
    LEADLINE_CHECK(part.in_features == parts[0].in_features, "parts of different widths");
    LEADLINE_CHECK(part.out_features >= 0 && part.row_stride >= part.in_features, "a part's shape");
    outputs += part.out_features;
  }
  LEADLINE_CHECK(slices >= 1 && slices < (1 << (kTreeLevels - 1)) && parts[0].in_features % slices == 0,
                 "slices must divide in_features");
  return outputs;
}

// malformed_file: not what a matrix of this shape takes.
Result<void> check_length(const PackedShape& shape, std::int64_t bytes, const CpuKernels& kernels) {
  const bool known = is_float(shape.format) || shape.format == DType::i8 || shape.format == DType::i4;
  const bool pairs = shape.format == DType::bf16 && kernels.split_group;
  const std::int64_t panels = (shape.out_features + kPanel - 1) / kPanel;
  std::int64_t needed = 0;
  if (!known || shape.slices < 1 || shape.in_features % shape.slices != 0 ||
      __builtin_mul_overflow(panels, bytes_per_panel(shape.in_features, shape.format, shape.slices, pairs),
                             &needed) ||
      needed != bytes)
    return monitoring::fail(Errc::malformed_file, "packed weights of " + std::to_string(bytes) +
                                                      " bytes: this shape takes " + std::to_string(needed));
  return {};
}

// take(index, chunk) for each chunk of `bytes`, until one is refused.
template <typename Byte, typename Take>
Result<void> all_chunks(std::span<Byte> bytes, const Take& take, ThreadPool& pool) {
  const auto size = static_cast<std::size_t>(kPackedChunkBytes);
  const auto chunks = static_cast<std::int64_t>((bytes.size() + size - 1) / size);
  std::atomic<bool> whole{true};
  pool.run_claimed(chunks, 1, [&](int, std::int64_t chunk, std::int64_t) {
    const std::size_t at = static_cast<std::size_t>(chunk) * size;
    if (whole.load(std::memory_order_relaxed) &&
        !take(chunk, bytes.subspan(at, std::min(size, bytes.size() - at))))
      whole = false;
  });
  if (!whole) return monitoring::fail(Errc::malformed_file, "packed weights: a chunk is damaged");
  return {};
}

// The file's row of a stacked output.
const std::uint8_t* row_of(std::span<const WeightPart> parts, std::int64_t output, DType* dtype) {
  for (const WeightPart& part : parts) {
    if (output < part.out_features) {
      *dtype = part.dtype;
      return static_cast<const std::uint8_t*>(part.data) + output * part.row_stride * size_of(part.dtype);
    }
    output -= part.out_features;
  }
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<PackedWeights>> PackedWeights::empty(const PackedShape& shape,
                                                            std::int64_t panel_bytes) {
  std::unique_ptr<PackedWeights> packed(new PackedWeights(shape));
  auto memory = DeviceMemory::allocate(packed->panel_count() * panel_bytes, "packed weights");
  if (!memory) return tl::unexpected(memory.error());
  packed->memory_ = std::move(*memory);
  packed->stored_ = {static_cast<const std::byte*>(packed->memory_.data()),
                     static_cast<std::size_t>(packed->memory_.bytes())};
  return packed;
}

Result<std::unique_ptr<PackedMatrix>> PackedWeights::restore(const PackedShape& shape, std::int64_t bytes,
                                                             const PackedReader& read,
                                                             const CpuKernels& kernels, ThreadPool& pool) {
  if (auto right = check_length(shape, bytes, kernels); !right) return tl::unexpected(right.error());
  auto packed = empty(shape, bytes == 0 ? 0 : bytes / ((shape.out_features + kPanel - 1) / kPanel));
  if (!packed) return tl::unexpected(packed.error());
  const std::span<std::byte> target(static_cast<std::byte*>((*packed)->memory_.data()),
                                    static_cast<std::size_t>(bytes));
  if (auto whole = all_chunks(target, read, pool); !whole) return tl::unexpected(whole.error());
  return std::unique_ptr<PackedMatrix>(std::move(*packed));
}

Result<std::unique_ptr<PackedMatrix>> PackedWeights::adopt(const PackedShape& shape,
                                                           const PackedBytes& stored,
                                                           const PackedCheck& check,
                                                           const CpuKernels& kernels, ThreadPool& pool) {
  const auto bytes = static_cast<std::int64_t>(stored.bytes.size());
  if (auto right = check_length(shape, bytes, kernels); !right) return tl::unexpected(right.error());
  LEADLINE_CHECK(reinterpret_cast<std::uintptr_t>(stored.bytes.data()) % 64 == 0, "weights off their places");
  if (auto whole = all_chunks(stored.bytes, check, pool); !whole) return tl::unexpected(whole.error());
  std::unique_ptr<PackedWeights> packed(new PackedWeights(shape));
  packed->owner_ = stored.owner;
  packed->stored_ = stored.bytes;
  return std::unique_ptr<PackedMatrix>(std::move(packed));
}

Result<std::unique_ptr<PackedMatrix>> PackedWeights::pack(std::span<const WeightPart> parts, DType format,
                                                          int slices, const CpuKernels& kernels,
                                                          ThreadPool& pool) {
  const auto outputs = check_parts(parts, format, slices);
  if (!outputs) return tl::unexpected(outputs.error());
  const bool pairs = format == DType::bf16 && kernels.split_group, whole_rows = pairs || !is_float(format);
  const std::int64_t panel_bytes = bytes_per_panel(parts[0].in_features, format, slices, pairs);
  auto made = empty({*outputs, parts[0].in_features, format, slices}, panel_bytes);
  if (!made) return tl::unexpected(made.error());
  std::unique_ptr<PackedWeights> packed = std::move(*made);
  auto* base = static_cast<std::uint8_t*>(packed->memory_.data());
  pool.run(packed->panel_count(), [&](int, std::int64_t begin, std::int64_t end) {
    std::vector<float> wide(static_cast<std::size_t>(whole_rows ? packed->in_features_ : 0));
    for (std::int64_t output = begin * kPanel; output < std::min(end * kPanel, *outputs); ++output) {
      DType from = DType::f32;
      const std::uint8_t* row = row_of(parts, output, &from);
      std::uint8_t* panel = base + output / kPanel * panel_bytes;
      if (whole_rows) kernels.widen(row, static_cast<int>(from), packed->in_features_, wide.data());
      if (pairs) {
        PairPacker{kernels, packed->in_features_, slices}.pack(wide.data(), output % kPanel, panel);
      } else if (format == DType::i8) {
        Int8Packer{packed->in_features_, slices}.pack(wide.data(), output % kPanel, panel);
      } else if (format == DType::i4) {
        Int4Packer{kernels, packed->in_features_, slices}.pack(wide.data(), output % kPanel, panel);
      } else {
        RowPacker{kernels, from, format}.pack(row, packed->in_features_, output % kPanel, panel);
      }
    }
  });
  return std::unique_ptr<PackedMatrix>(std::move(packed));
}

}  // namespace leadline::worker::cpu
