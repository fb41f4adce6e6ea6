#pragma once
// Non-owning views of device memory, and packed matrices. Not an autograd tensor: no strides beyond rows, no
// ownership. Thread: values; the memory belongs to the backend that made it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "transport/collective/dtype.h"

namespace leadline::worker {

using transport::DType;

// Row-major (rows, cols); row r starts at data + r * row_stride elements.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0, cols = 0, row_stride = 0;
  MatrixView() = default;
  MatrixView(T* d, std::int64_t r, std::int64_t c) : data(d), rows(r), cols(c), row_stride(c) {}
  MatrixView(T* d, std::int64_t r, std::int64_t c, std::int64_t s)
      : data(d), rows(r), cols(c), row_stride(s) {}
  template <typename U>
  requires(std::is_same_v<const U, T>) MatrixView(const MatrixView<U>& o)
      : data(o.data), rows(o.rows), cols(o.cols), row_stride(o.row_stride) {}
  T* row(std::int64_t r) const { return data + r * row_stride; }
};
using FloatMatrix = MatrixView<float>;
using ConstFloatMatrix = MatrixView<const float>;

// A rectangle of a checkpoint tensor as Hugging Face stores linear layers: (out_features, in_features),
// row-major.
struct WeightPart {
  const void* data = nullptr;     // first element of the rectangle
  DType dtype = DType::f32;       // f32, bf16 or f16
  std::int64_t out_features = 0;  // rows taken
  std::int64_t in_features = 0;   // columns taken
  std::int64_t row_stride = 0;    // elements between rows in the file
};

inline constexpr std::int64_t kPackedChunkBytes = std::int64_t{1} << 20;
// Fills `into` with chunk `index` of a packed matrix's stored() bytes (all of kPackedChunkBytes, but the
// last); false: it is not to be had. Any thread, several at once.
using PackedReader = std::function<bool(std::int64_t index, std::span<std::byte> into)>;
// Whether `chunk`, number `index` of a matrix's bytes, is whole. Any thread, several at once.
using PackedCheck = std::function<bool(std::int64_t index, std::span<const std::byte> chunk)>;
// Stored bytes where a matrix may leave them: they stay there as long as `owner`, at a multiple of 64.
struct PackedBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

// What a packed matrix is, but for its bytes.
struct PackedShape {
  std::int64_t out_features = 0, in_features = 0;
  DType format = DType::f32;
  int slices = 1;
  friend bool operator==(const PackedShape&, const PackedShape&) = default;
};

// A weight matrix in the backend's own layout; made by Backend::pack, immutable, destroyed before its
// backend.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  [[nodiscard]] virtual std::int64_t out_features() const = 0;
  [[nodiscard]] virtual std::int64_t in_features() const = 0;
  [[nodiscard]] virtual DType format() const = 0;  // f32, bf16, f16, i8, i4
  [[nodiscard]] virtual std::int64_t bytes() const = 0;
  [[nodiscard]] virtual int slices() const = 0;  // equal cuts along in_features (exactness X2); 1 = none
  // All its bytes, for Backend::restore of a backend that packs alike; none: it can't be kept.
  [[nodiscard]] virtual std::span<const std::byte> stored() const { return {}; }
  [[nodiscard]] PackedShape shape() const { return {out_features(), in_features(), format(), slices()}; }
};

}  // namespace leadline::worker
