#include "worker/backend/cuda/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "worker/backend/cuda/host_formats.h"
#include "worker/backend/cuda/kernel_select.h"

namespace leadline::worker::cuda {

namespace {

void widen_row(const WeightPart& part, std::int64_t row, std::vector<float>& out) {
  const auto size = static_cast<std::int64_t>(transport::bits_of(part.dtype) / 8);
  const auto* data = static_cast<const std::uint8_t*>(part.data) + row * part.row_stride * size;
  for (std::int64_t i = 0; i < part.in_features; ++i)
    out[static_cast<std::size_t>(i)] = host_widen(data + i * size, static_cast<std::int32_t>(part.dtype));
}

float largest(const float* x, std::int64_t count) {
  float top = 0;
  for (std::int64_t i = 0; i < count; ++i) top = std::max(top, std::fabs(x[i]));
  return top;
}

// One output row of one slice into its place.
struct RowPacker {
  PackedBytes& to;
  DType format;
  std::int64_t width, slices;

  void dense(const float* x, std::int64_t at) const {
    const std::size_t size = transport::bits_of(format) / 8;
    for (std::int64_t i = 0; i < width; ++i)
      host_narrow(x[i], static_cast<std::int32_t>(format),
                  to.data.data() + static_cast<std::size_t>(at + i) * size);
  }
  void fp8(const float* x, std::int64_t at, float inverse) const {
    for (std::int64_t i = 0; i < width; ++i)
      to.data[static_cast<std::size_t>(at + i)] = host_fp8(x[i] * inverse);
  }
  // q in -7..7, stored as q + 8; zeros beyond the width are 8.
  void int4(const float* x, std::int64_t at) const {
    for (std::int64_t g = 0; g < to.padded; g += kInt4Group) {
      const std::int64_t count = std::min<std::int64_t>(kInt4Group, width - g);
      const float top = largest(x + g, std::max<std::int64_t>(count, 0)),
                  inverse = top > 0 ? 7.0F / top : 0.0F;
      to.scales[static_cast<std::size_t>((at + g) / kInt4Group)] = top / 7.0F;
      for (std::int64_t i = 0; i < kInt4Group; ++i) {
        const int q = i < count ? static_cast<int>(std::nearbyint(x[g + i] * inverse)) + 8 : 8;
        to.data[static_cast<std::size_t>((at + g + i) / 2)] |= static_cast<std::uint8_t>(q << (4 * (i % 2)));
      }
    }
  }
  void row(const std::vector<float>& x, std::int64_t n) const {
    const float top = format == DType::fp8 ? largest(x.data(), width * slices) : 0;
    if (format == DType::fp8) to.scales[static_cast<std::size_t>(n)] = top > 0 ? top / 448.0F : 1.0F;
    for (std::int64_t s = 0; s < slices; ++s) {
      const std::int64_t at = (s * to.n + n) * to.padded;
      const float* slice = x.data() + s * width;
      if (format == DType::fp8)
        fp8(slice, at, top > 0 ? 448.0F / top : 0.0F);
      else if (format == DType::i4)
        int4(slice, at);
      else
        dense(slice, at);
    }
  }
};

}  // namespace

Result<PackedBytes> pack_bytes(std::span<const WeightPart> parts, DType format, int slices) {
  const bool known = format == DType::f32 || format == DType::bf16 || format == DType::f16 ||
                     format == DType::fp8 || format == DType::i4;
  if (!known)
    return monitoring::fail(Errc::configuration, "weight format " + std::string(transport::name_of(format)) +
                                                     ": the CUDA backend has f32, bf16, f16, fp8, int4");
  PackedBytes to;
  to.k = parts.empty() ? 0 : parts[0].in_features;
  for (const WeightPart& part : parts) to.n += part.out_features;
  if (slices < 1 || to.k % slices != 0)
    return monitoring::fail(Errc::configuration, "in_features " + std::to_string(to.k) +
                                                     " does not divide into " + std::to_string(slices) +
                                                     " slices");
  const std::int64_t width = to.k / slices;
  to.padded = padded_k(width, static_cast<std::int32_t>(format));
  const auto elements = static_cast<std::size_t>(slices * to.n * to.padded);
  to.data.assign(elements * transport::bits_of(format) / 8, 0);
  if (format == DType::fp8) to.scales.assign(static_cast<std::size_t>(to.n), 1.0F);
  if (format == DType::i4) to.scales.assign(elements / kInt4Group, 0.0F);
  std::vector<float> x(static_cast<std::size_t>(to.k));
  const RowPacker packer{to, format, width, slices};
  std::int64_t n = 0;
  for (const WeightPart& part : parts) {
    if (part.in_features != to.k)
      return monitoring::fail(Errc::configuration, "stacked parts have different in_features");
    for (std::int64_t row = 0; row < part.out_features; ++row, ++n) {
      widen_row(part, row, x);
      packer.row(x, n);
    }
  }
  return to;
}

}  // namespace leadline::worker::cuda
