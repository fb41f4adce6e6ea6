// CudaBackend's products: casts, cuBLASLt or own kernels, slice trees, epilogues. (cuda_backend.cpp has the
// rest.)

#include <algorithm>

#include "monitoring/check.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace leadline::worker::cuda {

namespace {

const CudaPackedMatrix& packed_of(const PackedMatrix& w) {
  return static_cast<const CudaPackedMatrix&>(w);
}

std::int64_t bytes_of(std::int32_t format) {
  return format == kF32 ? 4 : format == kFp8 ? 1 : 2;
}

FloatMatrix rows_of(FloatMatrix m, std::int64_t first, std::int64_t rows) {
  return {m.row(first), rows, m.cols, m.row_stride};
}
ConstFloatMatrix rows_of(ConstFloatMatrix m, std::int64_t first, std::int64_t rows) {
  return {m.row(first), rows, m.cols, m.row_stride};
}

}  // namespace

void CudaBackend::linear(ConstFloatMatrix x, const PackedMatrix& w, std::span<const float> bias,
                         FloatMatrix out) {
  LEADLINE_CHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == w.out_features(), "linear: bias");
  product(x, packed_of(w), bias, out);
}

void CudaBackend::linear_sliced(ConstFloatMatrix x, const PackedMatrix& w, FloatMatrix out) {
  product(x, packed_of(w), {}, out);
}

// The first `rows` rows of the begun step in runs of one class; rows of logits are decode rows; without a
// step all are prompt rows.
std::vector<CudaBackend::ClassRun> CudaBackend::runs_of(std::int64_t rows) const {
  if (!in_step_) return {{0, rows, ProductClass::prefill}};
  if (at_logits_) return {{0, rows, ProductClass::decode}};
  std::vector<ClassRun> runs;
  for (const SequenceRows& s : step_.sequences) {
    if (s.first_row >= rows) break;
    const ProductClass of = s.decode ? ProductClass::decode : ProductClass::prefill;
    if (runs.empty() || runs.back().product_class != of) runs.push_back({s.first_row, 0, of});
    runs.back().rows = std::min<std::int64_t>(s.first_row + s.rows, rows) - runs.back().first;
  }
  // Rows of no sequence pad a recorded step; they go with the last run.
  if (!runs.empty()) runs.back().rows = rows - runs.back().first;
  return runs;
}

void CudaBackend::product(ConstFloatMatrix x, const CudaPackedMatrix& w, std::span<const float> bias,
                          FloatMatrix out) {
  LEADLINE_CHECK(x.rows == out.rows && x.cols == w.in_features() && out.cols == w.out_features(),
                 "linear: shapes");
  if (x.rows == 0 || out.cols == 0) return;
  poison(out);
  for (const ClassRun& run : runs_of(x.rows))
    product_run(rows_of(x, run.first, run.rows), w, rows_of(out, run.first, run.rows), run.product_class);
  if (bias.empty()) return;
  const EpilogueArgs args{
      out.data, bias.data(), nullptr, nullptr, out.row_stride, out.cols, static_cast<std::int32_t>(out.rows),
      0};
  launch(KernelId::epilogue, rows_by_columns(out.rows, out.cols), args, "bias");
}

void CudaBackend::product_run(ConstFloatMatrix x, const CudaPackedMatrix& w, FloatMatrix out,
                              ProductClass product_class) {
  const auto format = static_cast<std::int32_t>(w.format());
  const ProductChoice choice =
      choose_product(format, product_class, runtime_->multiplies(kFp8) && out.cols % 16 == 0);
  const auto rows = static_cast<std::int32_t>(x.rows);
  const bool sliced = w.slices() > 1;
  FloatMatrix target = out;
  if (sliced || choice.path == ProductPath::int4_fused) {
    const std::int64_t parts = x.rows * out.cols * w.slices();
    target = FloatMatrix(static_cast<float*>(grow(parts_, parts * 4)), x.rows, out.cols);
  }
  if (choice.path == ProductPath::int4_fused) {
    const Int4ProductArgs args{x.data,       static_cast<const std::uint8_t*>(w.data()),
                               w.scales(),   target.data,
                               x.row_stride, w.width(),
                               w.padded(),   out.cols,
                               rows,         w.slices()};
    launch(KernelId::int4_product, {(out.cols + 3) / 4, x.rows, w.slices()}, args, "int4 product");
  } else {
    dense_product(x, w, target, choice, product_class);
  }
  if (target.data != out.data) {
    const TreeSumArgs args{target.data, nullptr, out.data, out.row_stride, out.cols, w.slices(), rows, 0, 0};
    launch(KernelId::tree_sum, rows_by_columns(x.rows, out.cols), args, "slice tree");
  }
  if (format != kFp8) return;
  const auto* row_scales =
      choice.compute_format == kFp8 ? static_cast<const float*>(row_scales_.piece.data()) : nullptr;
  const EpilogueArgs args{out.data, nullptr, row_scales, w.scales(), out.row_stride, out.cols, rows, 0};
  launch(KernelId::epilogue, rows_by_columns(x.rows, out.cols), args, "fp8 scales");
}

void CudaBackend::dense_product(ConstFloatMatrix x, const CudaPackedMatrix& w, FloatMatrix out,
                                const ProductChoice& choice, ProductClass product_class) {
  const std::int64_t all = w.padded() * w.slices();
  void* cast = grow(cast_, x.rows * all * bytes_of(choice.compute_format));
  float* row_scales =
      choice.compute_format == kFp8 ? static_cast<float*>(grow(row_scales_, x.rows * 4)) : nullptr;
  const CastArgs to{x.data,
                    cast,
                    row_scales,
                    x.row_stride,
                    w.width(),
                    w.padded(),
                    choice.compute_format,
                    static_cast<std::int32_t>(x.rows),
                    w.slices(),
                    0};
  launch(KernelId::cast, {x.rows, 1, 1}, to, "cast", 32 * 4);
  const void* weights = w.data();
  if (choice.path == ProductPath::widened) {
    const std::int64_t elements = all * out.cols;
    void* wide = grow(widened_, elements * 2);
    const WidenWeightsArgs args{
        static_cast<const std::uint8_t*>(w.data()), w.scales(), wide, elements, w.padded(),
        static_cast<std::int32_t>(w.format()),      0};
    launch(KernelId::widen_weights, {(elements + kRowThreads - 1) / kRowThreads, 1, 1}, args,
           "widen weights");
    weights = wide;
  }
  Product p;
  p.rows = x.rows;
  p.n = out.cols;
  p.k = w.padded();
  p.slices = w.slices();
  p.x = cast;
  p.w = weights;
  p.out = out.data;
  p.out_stride = out.row_stride;
  p.format = choice.compute_format;
  p.product_class = product_class;
  p.stage = product_class == ProductClass::decode ? "decode product" : "prefill product";
  runtime_->multiply(p, stream_.get());
}

}  // namespace leadline::worker::cuda
