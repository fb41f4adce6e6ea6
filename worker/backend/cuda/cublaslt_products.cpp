#include "worker/backend/cuda/cublaslt_products.cuh"

#include <cstdio>
#include <vector>

#include "monitoring/check.h"

namespace leadline::worker::cuda {

namespace {

void check(cublasStatus_t status, const char* call, const Product& p) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  char text[300];
  std::snprintf(text, sizeof text,
                "cuBLASLt: %s in %s: %s (rows %lld, n %lld, k %lld, slices %lld, format %d)", call, p.stage,
                cublasLtGetStatusString(status), static_cast<long long>(p.rows), static_cast<long long>(p.n),
                static_cast<long long>(p.k), static_cast<long long>(p.slices), p.format);
  LEADLINE_CHECK(false, text);
}

cudaDataType_t type_of(std::int32_t format) {
  return format == kF32    ? CUDA_R_32F
         : format == kBf16 ? CUDA_R_16BF
         : format == kF16  ? CUDA_R_16F
                           : CUDA_R_8F_E4M3;
}

// A layout that goes with its scope. Column-major: rows of ours are columns of theirs.
struct Layout {
  cublasLtMatrixLayout_t layout = nullptr;
  Layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t leading,
         std::int64_t batches) {
    (void)cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), leading);
    const auto count = static_cast<std::int32_t>(batches);
    const std::int64_t stride = columns * leading;
    (void)cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
    (void)cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                           sizeof stride);
  }
  ~Layout() { (void)cublasLtMatrixLayoutDestroy(layout); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

struct Layouts {
  Layout w, x, out;
  Layouts(const Product& p, std::int64_t rows)
      : w(type_of(p.format), p.k, p.n, p.k, p.slices),
        x(type_of(p.format), p.k, rows, p.k, p.slices),
        out(CUDA_R_32F, p.n, rows, p.out_stride, p.slices) {}
};

struct Description {
  cublasLtMatmulDesc_t description = nullptr;
  explicit Description(const Product& p) {
    check(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "MatmulDescCreate", p);
    const cublasOperation_t transposed = CUBLAS_OP_T, plain = CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                         sizeof transposed),
          "MatmulDescSetAttribute", p);
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSB, &plain, sizeof plain),
          "MatmulDescSetAttribute", p);
  }
  ~Description() { (void)cublasLtMatmulDescDestroy(description); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;
};

// The largest power of two up to 256 that divides `bytes`.
std::uint32_t alignment_of(std::int64_t bytes) {
  std::uint32_t alignment = 256;
  while (alignment > 4 && bytes % alignment != 0) alignment /= 2;
  return alignment;
}

}  // namespace

CublasLtProducts::CublasLtProducts(int major, int minor) : has_fp8_(major > 8 || (major == 8 && minor >= 9)) {
  Product none;
  none.stage = "start";
  check(cublasLtCreate(&handle_), "Create", none);
  LEADLINE_CHECK(cudaMalloc(&workspace_, kWorkspaceBytes) == cudaSuccess,
                 "no device memory for cuBLASLt's workspace");
}

CublasLtProducts::~CublasLtProducts() {
  (void)cublasLtDestroy(handle_);
  (void)cudaFree(workspace_);
}

// The best of the heuristics' choices at the class's reference rows that splits no k, made once. Alignment of
// the output is that of the least aligned row that may come, so that no row count falls to another kernel.
const cublasLtMatmulAlgo_t& CublasLtProducts::pinned(const Product& p, cublasLtMatmulDesc_t description) {
  const Key key{static_cast<std::int32_t>(p.product_class), p.n, p.k, p.slices, p.out_stride, p.format};
  if (const auto found = pinned_.find(key); found != pinned_.end()) return found->second;
  const Layouts at(p, kReferenceRows[static_cast<int>(p.product_class)]);
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "MatmulPreferenceCreate", p);
  const std::size_t workspace = kWorkspaceBytes;
  const std::uint32_t no_split = CUBLASLT_REDUCTION_SCHEME_NONE,
                      out_alignment = alignment_of(p.out_stride * 4);
  (void)cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                             sizeof workspace);
  (void)cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                             &no_split, sizeof no_split);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    (void)cublasLtMatmulPreferenceSetAttribute(preference, attribute, &out_alignment, sizeof out_alignment);
  cublasLtMatmulHeuristicResult_t results[16];
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_, description, at.w.layout, at.x.layout, at.out.layout,
                                     at.out.layout, preference, 16, results, &count);
  (void)cublasLtMatmulPreferenceDestroy(preference);
  check(status, "MatmulAlgoGetHeuristic", p);
  for (int i = 0; i < count; ++i) {
    std::int32_t splits = 1;
    std::size_t written = 0;
    (void)cublasLtMatmulAlgoConfigGetAttribute(&results[i].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &splits,
                                               sizeof splits, &written);
    if (results[i].state == CUBLAS_STATUS_SUCCESS && splits <= 1)
      return pinned_.emplace(key, results[i].algo).first->second;
  }
  check(CUBLAS_STATUS_NOT_SUPPORTED, "no algorithm without split k", p);
  return pinned_.begin()->second;
}

void CublasLtProducts::multiply(const Product& p, cudaStream_t stream) {
  const Description description(p);
  const cublasLtMatmulAlgo_t& algo = pinned(p, description.description);
  const Layouts at(p, p.rows);
  const float one = 1.0F, zero = 0.0F;
  check(
      cublasLtMatmul(handle_, description.description, &one, p.w, at.w.layout, p.x, at.x.layout, &zero, p.out,
                     at.out.layout, p.out, at.out.layout, &algo, workspace_, kWorkspaceBytes, stream),
      "Matmul", p);
}

}  // namespace leadline::worker::cuda
